"""What belongs to no resource: the root, the rate limit, the forge's own name."""

from __future__ import annotations

from infra.local.forge.rest.http import Call, Reply
from infra.local.forge.rest.limits import RateLimits
from infra.local.forge.rest.router import Handler


async def get_root(call: Call) -> Reply:
    return Reply(
        data={
            "current_user_url": call.world.api("/user"),
            "rate_limit_url": call.world.api("/rate_limit"),
            "repository_url": call.world.api("/repos/{owner}/{repo}"),
            "user_url": call.world.api("/users/{user}"),
        }
    )


async def get_meta(_: Call) -> Reply:
    return Reply(
        data={
            "verifiable_password_authentication": False,
            "installed_version": "local forge",
            "hooks": ["127.0.0.1/32"],
        }
    )


def rate_limit(limits: RateLimits) -> Handler:
    async def get_rate_limit(call: Call) -> Reply:
        limits.give_back(call.identity)  # asking costs nothing
        shape = limits.shape(call.identity)
        return Reply(data={"resources": {"core": shape, "search": {**shape, "resource": "search"}}, "rate": shape})

    return get_rate_limit
