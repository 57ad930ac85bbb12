"""``GET /api/workflows/installation-status/{owner}/{repo}``: can runs work on this repository?"""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.call import Call, reply
from infra.core.errors import NotFound
from infra.core.forge import PUBLISH_PERMISSIONS
from infra.core.repository import parse_repository

_RANK = {"": 0, "read": 1, "write": 2, "admin": 3}


async def installation_status(call: Call) -> Response:
    """Always 200 for a well-formed name: not installed is an answer, with what to do about it."""
    repository = parse_repository(call.request.path_params["owner"], call.request.path_params["repo"])
    forge = await call.services.forge()
    try:
        installation = await forge.installation(repository)
    except NotFound as error:
        return reply(
            {
                "repository": str(repository),
                "installed": False,
                "ready": False,
                "missing_permissions": [],
                "message": error.message,
                "hint": error.hint,
            }
        )
    missing = [
        f"{name}:{level}"
        for name, level in PUBLISH_PERMISSIONS.items()
        if _RANK[installation.permissions.get(name, "")] < _RANK[level]
    ]
    ready = not missing and not installation.suspended
    return reply(
        {
            "repository": str(repository),
            "installed": True,
            "ready": ready,
            "installation_id": installation.id,
            "account": installation.account,
            "suspended": installation.suspended,
            "missing_permissions": missing,
            "message": "Runs can work on this repository."
            if ready
            else "The App is installed, but runs cannot work yet.",
            "hint": ""
            if ready
            else "Grant the missing permissions or lift the suspension in the App's settings on GitHub.",
        }
    )
