"""``/repos/{owner}/{repo}``, its collaborators, and users."""

from __future__ import annotations

from typing import Any

from infra.local.forge import account, integration, repository
from infra.local.forge.access import role_of
from infra.local.forge.account import Account
from infra.local.forge.problem import not_found
from infra.local.forge.rest.http import Call, Reply, found

_OLD_NAMES = {"maintain": "write", "triage": "read"}
"""``permission`` knows four levels, ``role_name`` all."""


async def get_repository(call: Call) -> Reply:
    world, repo, identity = call.world, call.repo, call.identity
    shape = repository.shape(world, repo)
    if identity.is_installation:
        shape["permissions"] = {"admin": False, "maintain": False, "push": False, "triage": False, "pull": False}
    elif identity.account is not None:
        shape["permissions"] = repository.shape_permissions(repo, identity.account.id)
    return Reply(data={**shape, **repository.MERGING, "subscribers_count": 0, "network_count": 0})


async def get_collaborator_permission(call: Call) -> Reply:
    login = call.parameters["login"]
    person = account.find(call.world, login)
    if person is None or person.type != "User":
        raise not_found(f"{login} is not a user")
    role = role_of(call.repo, person.id)
    user = {
        **account.shape(call.world, person),
        "permissions": repository.shape_permissions(call.repo, person.id),
        "role_name": role,
    }
    return Reply(data={"permission": _OLD_NAMES.get(role, role), "user": user, "role_name": role})


async def get_user(call: Call) -> Reply:
    """Also ``slug[bot]``, whose numeric id makes an App's commit e-mail."""
    return Reply(data=_profile(call, found(account.find(call.world, call.parameters["login"]))))


async def get_me(call: Call) -> Reply:
    return Reply(data=_profile(call, call.actor))


def _profile(call: Call, person: Account) -> dict[str, Any]:
    unknown = ("company", "blog", "location", "email", "hireable", "bio", "twitter_username")
    counts = ("public_repos", "public_gists", "followers", "following")
    made = account.stamp(person.created_at)
    return {
        **account.shape(call.world, person),
        "name": person.login,
        **dict.fromkeys(unknown),
        **dict.fromkeys(counts, 0),
        "created_at": made,
        "updated_at": made,
    }


async def get_app_by_slug(call: Call) -> Reply:
    slug = call.parameters["slug"]
    app = next((row for row in call.world.apps if row.slug == slug), None)
    return Reply(data=integration.shape_app(call.world, found(app)))
