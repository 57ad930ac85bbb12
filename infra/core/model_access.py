"""Ways to pay for the model, and what goes together: decided once, at the start, from what the operator has set.

A credential too many is as much a mistake as one too few: programs that take whichever they find first send a key where nobody
meant it to go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from infra.core.errors import Invalid
from infra.core.price import canonical_model

ANTHROPIC_API = "https://api.anthropic.com"
SMALL_MODEL = "haiku"
"""What sub-agents and side tasks use beside a run's own model."""


class Mode(StrEnum):
    API_KEY = "api_key"
    OAUTH = "oauth"
    GATEWAY = "gateway"
    VERTEX = "vertex"


CREDENTIALS: Mapping[Mode, str] = {
    Mode.API_KEY: "ANTHROPIC_API_KEY",
    Mode.OAUTH: "CLAUDE_CODE_OAUTH_TOKEN",
    Mode.GATEWAY: "ANTHROPIC_AUTH_TOKEN",
    Mode.VERTEX: "VERTEX_USER_TOKEN",
}
"""The variable that each mode's credential is in."""

_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]|[a-z0-9.-]+:[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+(?:-[a-z]+[0-9]{1,2})?")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MULTI_REGIONS = frozenset({"us", "eu"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """Where the model runs on Google's side. ``base_url``: another address for it, empty for Google's own."""

    project: str
    region: str
    base_url: str = ""

    @property
    def url(self) -> str:
        """Without a trailing slash. https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai"""
        if self.base_url:
            return self.base_url.rstrip("/")
        if self.region == "global":
            return "https://aiplatform.googleapis.com/v1"
        if self.region in _MULTI_REGIONS:
            return f"https://aiplatform.{self.region}.rep.googleapis.com/v1"
        return f"https://{self.region}-aiplatform.googleapis.com/v1"

    @property
    def surcharge_percent(self) -> int:
        """What a region adds to the list price; the global endpoint adds nothing. Models before the 4.5 generation are billed
        without it, and so count a little too much here. https://platform.claude.com/docs/en/about-claude/pricing"""
        return 0 if self.region == "global" else 10


def check_access(mode: Mode, *, given: Iterable[str], base_url: str, vertex: Vertex) -> None:
    """Raises ``Invalid`` for settings that contradict each other. ``given``: which of ``CREDENTIALS`` are set."""
    for variable in given:
        if variable != CREDENTIALS[mode]:
            other = next(each for each, name in CREDENTIALS.items() if name == variable)
            raise _contradiction(
                f"{variable} is set, but MODEL_AUTH={mode} does not use it.",
                f"Unset {variable}, or set MODEL_AUTH={other} and unset {CREDENTIALS[mode]}.",
            )
    own_address = base_url.rstrip("/") != ANTHROPIC_API
    if mode is Mode.GATEWAY and not own_address:
        raise _contradiction(
            "MODEL_AUTH=gateway needs the gateway's address.", "Set ANTHROPIC_BASE_URL, or use MODEL_AUTH=api_key."
        )
    if mode is Mode.OAUTH and own_address and not _is_loopback(base_url):
        raise _contradiction(
            "A subscription's token is sent to Anthropic only, but ANTHROPIC_BASE_URL names another host.",
            "Unset ANTHROPIC_BASE_URL, or use MODEL_AUTH=gateway with the gateway's own token.",
        )
    if mode is Mode.VERTEX:
        _check_vertex(vertex, own_address=own_address)


def _check_vertex(vertex: Vertex, *, own_address: bool) -> None:
    if own_address:
        raise _contradiction(
            "ANTHROPIC_BASE_URL is set, but MODEL_AUTH=vertex does not use it.",
            "Unset it; VERTEX_BASE_URL names another address for Vertex AI.",
        )
    if _PROJECT.fullmatch(vertex.project) is None:
        raise _contradiction(
            "MODEL_AUTH=vertex needs the project that pays for the model.",
            "Set VERTEX_PROJECT_ID to a Google Cloud project's id, such as my-project-123.",
        )
    if _REGION.fullmatch(vertex.region) is None:
        raise _contradiction(
            f"{vertex.region[:40]!r} is not a region of Vertex AI.",
            "Set VERTEX_REGION to global, us, eu, or a region such as us-east5.",
        )


def allowed_models(listed: str, model: str) -> tuple[str, ...]:
    """The models that a run on ``model`` may use: the operator's list, else the run's own model and the small one."""
    names = tuple(name for part in listed.split(",") if (name := part.strip()))
    return names or (model, SMALL_MODEL)


def check_model(model: str, allowed: Iterable[str]) -> None:
    """Raises ``Invalid`` (``model_not_allowed``), naming what is allowed, unless ``model`` is one of them under any of its names."""
    names = tuple(allowed)
    if canonical_model(model) not in {canonical_model(name) for name in names}:
        raise Invalid(
            f"The model {model[:100]!r} is not allowed here.",
            code="model_not_allowed",
            hint=f"Allowed: {', '.join(names)} (ALLOWED_MODELS).",
        )


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in _LOOPBACK


def _contradiction(message: str, hint: str) -> Invalid:
    return Invalid(message, code="contradictory_settings", hint=hint)
