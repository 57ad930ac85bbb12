"""A seed: what should be there, as one JSON document. Applying it again changes only what the document changes.

See ``Seed`` for the keys. Repositories that exist keep their content, and their issues are not opened twice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from infra.local.forge import token as tokens
from infra.local.forge.integration import EVENTS, EVERYTHING

if TYPE_CHECKING:
    from infra.local.forge.forge import Forge


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class HookSeed(_Strict, frozen=True, kw_only=True):
    url: str
    secret: str


class AppSeed(_Strict, frozen=True, kw_only=True):
    """``public_key`` or ``public_key_file``: RSA in PEM."""

    id: int
    slug: str
    name: str = ""
    public_key: str = ""
    public_key_file: str = ""
    permissions: dict[str, str] = msgspec.field(default_factory=lambda: dict(EVERYTHING))
    events: list[str] = msgspec.field(default_factory=lambda: list(EVENTS))
    webhook: HookSeed | None = None


class PersonSeed(_Strict, frozen=True, kw_only=True):
    """``token_file``: where a token for this person is kept (mode 0600); made if missing or no longer valid."""

    login: str
    token_file: str = ""


class IssueSeed(_Strict, frozen=True, kw_only=True):
    title: str
    body: str = ""
    labels: tuple[str, ...] = ()
    author: str = ""


class RepositorySeed(_Strict, frozen=True, kw_only=True):
    """``source``: a folder of files, a git repository or a bundle. ``apps``: ids of Apps installed on it."""

    owner: str
    name: str
    source: str = ""
    private: bool = True
    protected: bool = False
    description: str = ""
    apps: tuple[int, ...] = ()
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    labels: tuple[str, ...] = ()
    issues: tuple[IssueSeed, ...] = ()


class Seed(_Strict, frozen=True, kw_only=True):
    apps: tuple[AppSeed, ...] = ()
    people: tuple[PersonSeed, ...] = ()
    repositories: tuple[RepositorySeed, ...] = ()


def parse(raw: bytes) -> Seed:
    """Raises ``msgspec.ValidationError`` (or ``DecodeError``) naming what does not fit."""
    return msgspec.json.decode(raw, type=Seed)


async def apply(forge: Forge, seed: Seed) -> dict[str, Any]:
    """Returns ids and, for people without a ``token_file``, their new tokens."""
    for app in seed.apps:
        _register(forge, app)
    return {
        "people": {person.login: _person(forge, person) for person in seed.people},
        "repositories": {f"{row.owner}/{row.name}": await _repository(forge, row) for row in seed.repositories},
    }


def _register(forge: Forge, app: AppSeed) -> None:
    key = app.public_key or Path(app.public_key_file).read_text()
    forge.register_app(
        app.id, slug=app.slug, name=app.name, public_key=key, permissions=app.permissions, events=app.events
    )
    if app.webhook is not None:
        forge.set_webhook(app.webhook.url, app.webhook.secret, app.id)


def _person(forge: Forge, person: PersonSeed) -> str | None:
    if not person.token_file:
        return forge.person_token(person.login)
    file = Path(person.token_file)
    if not file.exists() or tokens.find(forge.world, file.read_text().strip()) is None:
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(forge.person_token(person.login))
    return None


async def _repository(forge: Forge, wanted: RepositorySeed) -> dict[str, Any]:
    repo = forge.repository(f"{wanted.owner}/{wanted.name}")
    new = repo is None
    if repo is None:
        repo = await forge.create_repository(
            wanted.owner,
            wanted.name,
            Path(wanted.source) if wanted.source else None,
            private=wanted.private,
            protected=wanted.protected,
            description=wanted.description,
        )
    for login, role in wanted.roles.items():
        repo = forge.set_permission(login, repo, role)
    for name in wanted.labels:
        forge.create_label(repo, name)
    installed = {str(app): forge.install_app(app, wanted.owner, [repo]).id for app in wanted.apps}
    if new:
        for entry in wanted.issues:
            await forge.open_issue(repo, entry.title, entry.body, labels=entry.labels, author=entry.author)
    return {"id": repo.id, "created": new, "installations": installed}
