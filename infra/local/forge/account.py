"""Accounts: people, organisations and the bots that Apps act as."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.core.clock import Instant
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World


class Account(Row, frozen=True, kw_only=True):
    """``type``: User, Organization or Bot. A bot's login is ``slug[bot]``."""

    login: str
    type: str
    created_at: Instant

    @property
    def email(self) -> str:
        """The address that links a commit to this account.
        https://docs.github.com/account-and-profile/reference/email-addresses-reference"""
        return f"{self.id}+{self.login}@users.noreply.github.com"


def stamp(moment: Instant | None) -> str | None:
    """GitHub's time format: seconds, UTC, ``Z``."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(prefix: str, number: int) -> str:
    """Opaque ids of GraphQL; clients only carry them."""
    return f"{prefix}_kgDO{base64.urlsafe_b64encode(number.to_bytes(6, 'big')).decode().rstrip('=')}"


def ensure(world: World, login: str, account_type: str = "User") -> Account:
    """The account with this login, made if it is new."""
    found = find(world, login)
    if found:
        return found
    return world.accounts.put(Account(id=world.new_id(), login=login, type=account_type, created_at=world.now()))


def find(world: World, login: str) -> Account | None:
    return world.accounts.at(login.lower())


def shape(world: World, account: Account) -> dict[str, Any]:
    url = world.api(f"/users/{account.login}")
    page = f"apps/{account.login.removesuffix('[bot]')}" if account.type == "Bot" else account.login
    return {
        "login": account.login,
        "id": account.id,
        "node_id": node_id({"User": "U", "Organization": "O"}.get(account.type, "BOT"), account.id),
        "avatar_url": f"{world.url}/avatars/{account.id}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{world.url}/{page}",
        "followers_url": f"{url}/followers",
        "following_url": f"{url}/following{{/other_user}}",
        "gists_url": f"{url}/gists{{/gist_id}}",
        "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{url}/subscriptions",
        "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events",
        "type": account.type,
        "user_view_type": "public",
        "site_admin": False,
    }


def shape_id(world: World, account_id: int | None) -> dict[str, Any] | None:
    account = world.accounts.get(account_id) if account_id is not None else None
    return shape(world, account) if account else None
