"""What an identity may do with a repository: App permissions for installations, roles for people.

Whoever may not even know that a repository exists gets 404, whoever may see but not do gets 403, as on GitHub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.local.forge.identity import Identity
from infra.local.forge.problem import Refusal, not_found

if TYPE_CHECKING:
    from infra.local.forge.repository import Repository
    from infra.local.forge.world import World

ROLES = ("none", "read", "triage", "write", "maintain", "admin")


@dataclass(frozen=True, slots=True)
class Need:
    """One of ``permissions`` at ``level`` for an installation; at least ``role`` for a person."""

    permissions: tuple[str, ...]
    level: str
    role: str

    def __str__(self) -> str:
        return ", ".join(f"{name}={self.level}" for name in self.permissions)


def reading(*permissions: str) -> Need:
    return Need(permissions, "read", "read")


def writing(*permissions: str, role: str = "write") -> Need:
    return Need(permissions, "write", role)


def role_of(repository: Repository, account_id: int) -> str:
    """The person's role: owners are admins, everybody reads what is public."""
    if account_id == repository.owner:
        return "admin"
    return repository.roles.get(str(account_id), "none" if repository.private else "read")


def at_least(role: str, needed: str) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


def sees(world: World, identity: Identity, repository: Repository) -> bool:
    if not repository.private:
        return True
    if identity.is_installation:
        return _installed_on(world, identity, repository)
    if identity.account is None or identity.is_app:
        return False
    return at_least(role_of(repository, identity.account.id), "read")


def demand(world: World, identity: Identity, repository: Repository, need: Need) -> None:
    """Raises ``Refusal`` unless the need is met."""
    if not sees(world, identity, repository):
        raise not_found()
    if need.level == "read" and not repository.private and not identity.is_app:
        return
    if identity.account is None:
        raise Refusal(401, "Requires authentication")
    if identity.app is not None:
        _demand_permission(world, identity, repository, need)
    elif not at_least(role_of(repository, identity.account.id), need.role):
        raise Refusal(403, f"Must have {need.role} rights to Repository.")
    if need.level != "read" and repository.archived:
        raise Refusal(403, "Repository was archived so is read-only.")


def _demand_permission(world: World, identity: Identity, repository: Repository, need: Need) -> None:
    token = identity.token
    granted = (
        token is not None
        and _installed_on(world, identity, repository)
        and any(token.grants(name, need.level) for name in need.permissions)
    )
    if not granted:
        headers = {"x-accepted-github-permissions": str(need)}
        raise Refusal(403, "Resource not accessible by integration", headers=headers)


def _installed_on(world: World, identity: Identity, repository: Repository) -> bool:
    token = identity.token
    assert token is not None
    assert token.installation is not None
    installation = world.installations.get(token.installation)
    if installation is None or not installation.covers(repository):
        return False
    return token.repositories is None or repository.id in token.repositories
