"""What a REST handler gets and gives: ``Call`` and ``Reply``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from infra.local.forge.account import Account
from infra.local.forge.identity import Identity
from infra.local.forge.problem import Refusal, not_found
from infra.local.forge.repository import Repository
from infra.local.forge.world import World

_FIELD = re.compile(r"`\$\.?([\w.\[\]]*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of request bodies. Unknown keys are ignored, as GitHub does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """``content`` (already bytes) goes out instead of ``data`` as JSON."""

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    media_type: str = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authenticated and permitted request."""

    world: World
    identity: Identity
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    accept: str
    json: Any
    found: Repository | None = None

    @property
    def repo(self) -> Repository:
        """Of routes below ``/repos/{owner}/{repo}``; permission has been checked."""
        assert self.found is not None
        return self.found

    @property
    def actor(self) -> Account:
        assert self.identity.account is not None
        return self.identity.account

    def number(self, name: str = "number") -> int:
        return int(self.parameters[name])

    def body(self, body_type: type[T]) -> T:
        """Raises 400 and 422 in GitHub's words when the body does not fit."""
        if not isinstance(self.json, dict):
            raise Refusal(400, "Body should be a JSON object")
        try:
            return msgspec.convert(self.json, body_type)
        except msgspec.ValidationError as error:
            raise _unfit(str(error)) from None

    def wants(self, media: str) -> bool:
        """Whether ``Accept`` asks for ``application/vnd.github.<media>``, also in its older spellings."""
        return re.search(rf"application/vnd\.github\.(?:v3\.)?{media}(?:\+json)?(?:$|[,; ])", self.accept) is not None


def parse_json(raw: bytes) -> Any:
    if not raw:
        return {}
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(400, "Problems parsing JSON") from None


def _unfit(problem: str) -> Refusal:
    missing = _MISSING.search(problem)
    if missing:
        error = {"resource": "Body", "field": missing[1], "code": "missing_field"}
        return Refusal(422, f'Invalid request.\n\n"{missing[1]}" wasn\'t supplied.', errors=[error])
    where = _FIELD.search(problem)
    error = {"resource": "Body", "field": where[1] if where else "", "code": "invalid"}
    return Refusal(422, f"Invalid request.\n\n{problem}", errors=[error])


def found(row: T | None) -> T:
    """The row, or 404."""
    if row is None:
        raise not_found()
    return row
