"""Access tokens: what they look like, whom they stand for, and what they open. Only their SHA-256 is kept."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from infra.core.clock import Instant
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.core.ids import Entropy
    from infra.local.forge.account import Account
    from infra.local.forge.integration import Installation
    from infra.local.forge.world import World

_LEVELS = {"read": 1, "write": 2, "admin": 3}


class Token(Row, frozen=True, kw_only=True):
    """An installation's token (``installation`` set) or a person's.

    ``repositories``: ids it is narrowed to, None for all of the installation (or all the person sees).
    ``permissions``: as granted; a person's rights come from roles instead. ``expires_at``: None never.
    """

    digest: str
    account: int
    installation: int | None = None
    repositories: tuple[int, ...] | None = None
    permissions: dict[str, str] = msgspec.field(default_factory=dict)
    expires_at: Instant | None = None

    def grants(self, permission: str, level: str) -> bool:
        return _LEVELS.get(self.permissions.get(permission, ""), 0) >= _LEVELS[level]


def within(asked: Mapping[str, str], granted: Mapping[str, str]) -> bool:
    """Whether every permission asked for is covered by what was granted."""
    return all(
        level in _LEVELS and _LEVELS[level] <= _LEVELS.get(granted.get(name, ""), 0) for name, level in asked.items()
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _installation_text(app_id: int, entropy: Entropy) -> str:
    """The stateless format of 2026, about 520 characters of variable length, with dots: ``ghs_<appid>_<jwt>``.

    Nobody may assume 40 characters; the content is opaque and here random.
    https://github.blog/changelog/ (27 April 2026, stateless installation tokens)
    """
    header = _base64url(b'{"alg":"RS256","typ":"JWT"}')
    return f"ghs_{app_id}_{header}.{_base64url(entropy(96))}.{_base64url(entropy(256))}"


def mint_installation(
    world: World,
    installation: Installation,
    permissions: Mapping[str, str],
    repositories: tuple[int, ...] | None,
) -> tuple[str, Token]:
    """The text to hand out once, and the record. Old records are dropped in passing."""
    now = world.now()
    for old in world.tokens.where(lambda row: row.expires_at is not None and row.expires_at <= now):
        world.tokens.delete(old)
    app = world.apps.get(installation.app)
    assert app is not None
    text = _installation_text(app.id, world.entropy)
    record = Token(
        id=world.new_id(),
        digest=digest(text),
        account=app.bot,
        installation=installation.id,
        repositories=repositories,
        permissions={**permissions, "metadata": "read"},
        expires_at=Instant(now + world.token_ttl),
    )
    return text, world.tokens.put(record)


def mint_person(world: World, person: Account, expires_at: Instant | None = None) -> str:
    """A personal token: acts as that login with that login's roles."""
    text = f"ghp_{_base64url(world.entropy(27))}"
    world.tokens.put(Token(id=world.new_id(), digest=digest(text), account=person.id, expires_at=expires_at))
    return text


def find(world: World, text: str) -> Token | None:
    """The live token with this text; the look-up is by hash, so its timing says nothing about stored tokens."""
    row = world.tokens.at(digest(text))
    if row is None or (row.expires_at is not None and row.expires_at <= world.now()):
        return None
    return row
