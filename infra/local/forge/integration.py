"""GitHub Apps and their installations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from infra.core.clock import Instant
from infra.local.forge import account
from infra.local.forge.account import node_id, stamp
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.repository import Repository
    from infra.local.forge.world import World

EVERYTHING: Mapping[str, str] = {
    "checks": "write",
    "contents": "write",
    "issues": "write",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "write",
}
"""What an App gets unless the seed says otherwise. ``workflows`` is left out, as the product asks of its users."""

EVENTS: tuple[str, ...] = (
    "check_run",
    "check_suite",
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
)


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """Where an App's webhooks go. An empty ``url`` means: nowhere."""

    id: int
    url: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"Hook(id={self.id}, url={self.url!r})"


class App(Row, frozen=True, kw_only=True):
    """``bot``: id of the account the App acts as (not the App's id: commit e-mails need the account's)."""

    slug: str
    name: str
    owner: int
    bot: int
    public_key: str
    permissions: dict[str, str]
    events: tuple[str, ...]
    hook: Hook
    created_at: Instant

    @property
    def client_id(self) -> str:
        return f"Iv23li{self.id:014d}"


class Installation(Row, frozen=True, kw_only=True):
    """``repositories``: ids, or None for all of the account's, also those made later."""

    app: int
    account: int
    permissions: dict[str, str]
    repositories: tuple[int, ...] | None
    suspended_at: Instant | None
    created_at: Instant

    def covers(self, repository: Repository) -> bool:
        return self.account == repository.owner and (self.repositories is None or repository.id in self.repositories)


def register(
    world: World,
    *,
    app_id: int,
    slug: str,
    name: str,
    public_key: str,
    permissions: Mapping[str, str],
    events: Sequence[str],
) -> App:
    """Adds the App or renews its key, permissions and events. Raises ``ValueError`` when the key is no RSA public key."""
    if not isinstance(load_pem_public_key(public_key.encode()), RSAPublicKey):
        raise ValueError("An App's public key is an RSA key in PEM.")  # noqa: TRY004  # the text is of the wrong kind, not the argument
    known = world.apps.get(app_id)
    return world.apps.put(
        App(
            id=world.reserve_id(app_id),
            slug=slug,
            name=name or slug,
            owner=account.ensure(world, world.operator).id,
            bot=known.bot if known else account.ensure(world, f"{slug}[bot]", "Bot").id,
            public_key=public_key,
            permissions={**permissions, "metadata": "read"},
            events=tuple(events),
            hook=known.hook if known else Hook(id=world.new_id()),
            created_at=known.created_at if known else world.now(),
        )
    )


def install(
    world: World, app: App, owner: str, repositories: Sequence[Repository] | None, permissions: Mapping[str, str] | None
) -> Installation:
    """Installs the App on ``owner``, or adds ``repositories`` to the installation that is there. None means all."""
    holder = account.ensure(world, owner, "Organization")
    known = next(iter(world.installations.where(lambda row: row.app == app.id and row.account == holder.id)), None)
    chosen = None if repositories is None else tuple(row.id for row in repositories)
    if known and chosen is not None and known.repositories is not None:
        chosen = tuple(dict.fromkeys((*known.repositories, *chosen)))
    return world.installations.put(
        Installation(
            id=known.id if known else world.new_id(),
            app=app.id,
            account=holder.id,
            permissions={**(permissions or app.permissions), "metadata": "read"},
            repositories=chosen,
            suspended_at=None,
            created_at=known.created_at if known else world.now(),
        )
    )


def installation_on(world: World, app_id: int, repository: Repository) -> Installation | None:
    rows = world.installations.where(lambda row: row.app == app_id and row.covers(repository))
    return rows[0] if rows else None


def covered(world: World, installation: Installation) -> list[Repository]:
    return world.repositories.where(installation.covers)


def shape_app(world: World, app: App) -> dict[str, Any]:
    return {
        "id": app.id,
        "client_id": app.client_id,
        "slug": app.slug,
        "node_id": node_id("A", app.id),
        "owner": account.shape_id(world, app.owner),
        "name": app.name,
        "description": "Registered on the local forge.",
        "external_url": world.url,
        "html_url": f"{world.url}/apps/{app.slug}",
        "created_at": stamp(app.created_at),
        "updated_at": stamp(app.created_at),
        "permissions": app.permissions,
        "events": list(app.events),
    }


def shape_installation(world: World, row: Installation) -> dict[str, Any]:
    app, holder = world.apps.get(row.app), world.accounts.get(row.account)
    assert app is not None
    assert holder is not None
    url = world.api(f"/app/installations/{row.id}")
    return {
        "id": row.id,
        "client_id": app.client_id,
        "account": account.shape(world, holder),
        "repository_selection": "all" if row.repositories is None else "selected",
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": world.api("/installation/repositories"),
        "html_url": f"{world.url}/settings/installations/{row.id}",
        "app_id": app.id,
        "app_slug": app.slug,
        "target_id": holder.id,
        "target_type": holder.type,
        "permissions": row.permissions,
        "events": list(app.events),
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.created_at),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": None,
        "suspended_at": stamp(row.suspended_at),
    }
