"""``/app…``: what an App does with its JWT – installations, tokens, hook and deliveries."""

from __future__ import annotations

from typing import Any

import msgspec

from infra.local.forge import account, delivery, integration, manifest, repository, token, webhooks
from infra.local.forge.delivery import Delivery
from infra.local.forge.integration import App, Installation
from infra.local.forge.problem import Refusal, not_found
from infra.local.forge.repository import Repository
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply, found

_MAX_REPOSITORIES = 500


def _app(call: Call) -> App:
    assert call.identity.app is not None
    return call.identity.app


def _installation(call: Call) -> Installation:
    row = call.world.installations.get(call.number("installation"))
    if row is None or row.app != _app(call).id:
        raise not_found()
    return row


async def get_app(call: Call) -> Reply:
    app = _app(call)
    count = len(call.world.installations.where(lambda row: row.app == app.id))
    return Reply(data={**integration.shape_app(call.world, app), "installations_count": count})


async def convert_manifest(call: Call) -> Reply:
    """``POST /app-manifests/{code}/conversions``: the code is the proof, once."""
    return Reply(status=201, data=found(manifest.taken(call.world, call.parameters["code"])))


async def list_installations(call: Call) -> Reply:
    rows = call.world.installations.where(lambda row: row.app == _app(call).id)
    return paging.reply(call, [integration.shape_installation(call.world, row) for row in rows])


async def get_installation(call: Call) -> Reply:
    return Reply(data=integration.shape_installation(call.world, _installation(call)))


async def get_repository_installation(call: Call) -> Reply:
    repo = found(repository.find(call.world, call.parameters["owner"], call.parameters["repo"]))
    row = found(integration.installation_on(call.world, _app(call).id, repo))
    return Reply(data=integration.shape_installation(call.world, row))


class TokenRequest(Body, frozen=True, kw_only=True):
    repositories: list[str] | None = None
    repository_ids: list[int] | None = None
    permissions: dict[str, str] | None = None


async def create_token(call: Call) -> Reply:
    """https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app"""
    world, installation, asked = call.world, _installation(call), call.body(TokenRequest)
    if installation.suspended_at is not None:
        raise Refusal(403, "This installation has been suspended")
    permissions = installation.permissions if asked.permissions is None else asked.permissions
    if not token.within(permissions, installation.permissions):
        raise Refusal(422, "The permissions requested are not granted to this installation.")
    chosen = _narrowed(call, installation, asked)
    ids = None if chosen is None else tuple(row.id for row in chosen)
    text, record = token.mint_installation(world, installation, permissions, ids or installation.repositories)
    selected = record.repositories is not None
    listed = chosen if chosen is not None else integration.covered(world, installation)
    shapes = [_shape_repository(call, row) for row in listed]
    data = {
        "token": text,
        "expires_at": account.stamp(record.expires_at),
        "permissions": record.permissions,
        "repository_selection": "selected" if selected else "all",
        **({"repositories": shapes} if chosen is not None else {}),
    }
    return Reply(status=201, data=data)


def _narrowed(call: Call, installation: Installation, asked: TokenRequest) -> list[Repository] | None:
    """The repositories asked for, None when none were named. Names and ids may not be mixed with strangers."""
    if not asked.repositories and not asked.repository_ids:
        return None
    names, ids = asked.repositories or [], asked.repository_ids or []
    if len(names) + len(ids) > _MAX_REPOSITORIES:
        raise Refusal(422, f"A token can be limited to at most {_MAX_REPOSITORIES} repositories.")
    covered = integration.covered(call.world, installation)
    by_name = {row.name.lower(): row for row in covered}
    by_id = {row.id: row for row in covered}
    wanted = [by_name.get(name.lower()) for name in names] + [by_id.get(number) for number in ids]
    present = [row for row in wanted if row is not None]
    if len(present) < len(wanted):
        message = (
            "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
        raise Refusal(422, message)
    return list({row.id: row for row in present}.values())


def _shape_repository(call: Call, row: Repository) -> dict[str, Any]:
    shape = repository.shape(call.world, row)
    return {**shape, "permissions": {"admin": False, "push": False, "pull": False}}


async def revoke_token(call: Call) -> Reply:
    assert call.identity.token is not None
    call.world.tokens.delete(call.identity.token)
    return Reply(status=204)


async def list_repositories(call: Call) -> Reply:
    """``GET /installation/repositories``"""
    current = call.identity.token
    assert current is not None
    assert current.installation is not None
    installation = found(call.world.installations.get(current.installation))
    rows = [
        row
        for row in integration.covered(call.world, installation)
        if current.repositories is None or row.id in current.repositories
    ]
    shapes, headers = paging.cut(call, [_shape_repository(call, row) for row in rows])
    selection = "all" if current.repositories is None else "selected"
    data = {"total_count": len(rows), "repository_selection": selection, "repositories": list(shapes)}
    return Reply(data=data, headers=headers)


async def get_hook(call: Call) -> Reply:
    return Reply(data=webhooks.shape_config(_app(call).hook))


class HookChange(Body, frozen=True, kw_only=True):
    url: str | None = None
    secret: str | None = None
    content_type: str | None = None


async def change_hook(call: Call) -> Reply:
    change = call.body(HookChange)
    if change.url and not change.url.startswith(("http://", "https://")):
        raise Refusal(422, "Validation Failed", errors=[{"resource": "Hook", "field": "url", "code": "invalid"}])
    app = webhooks.point(call.world, _app(call), url=change.url, secret=change.secret)
    return Reply(data=webhooks.shape_config(app.hook))


async def list_deliveries(call: Call) -> Reply:
    """Newest first; ``cursor`` continues below the last one seen."""
    app, size = _app(call), paging.per_page(call)
    cursor = call.query.get("cursor", "")
    rows = call.world.deliveries.where(lambda row: row.app == app.id and row.delivered_at is not None)[::-1]
    if cursor:
        if not cursor.isdecimal():
            raise Refusal(422, "Invalid cursor")
        rows = [row for row in rows if row.id < int(cursor)]
    shown = rows[:size]
    more = {"link": f'<{paging.link(call, cursor=str(shown[-1].id))}>; rel="next"'} if len(rows) > size else {}
    return Reply(data=[delivery.shape(row) for row in shown], headers=more)


def _delivery(call: Call) -> Delivery:
    row = call.world.deliveries.get(call.number("delivery"))
    if row is None or row.app != _app(call).id:
        raise not_found()
    return row


async def get_delivery(call: Call) -> Reply:
    return Reply(data=delivery.shape_full(_app(call), _delivery(call)))


async def redeliver(call: Call) -> Reply:
    call.world.webhooks.again(_delivery(call))
    return Reply(status=202, data=msgspec.Raw(b"{}"))
