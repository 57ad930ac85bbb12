"""``/_forge/…``: how another process on this machine fills, watches and breaks the forge.

All but ``GET /_forge/health`` need ``Authorization: Bearer`` with the content of the data folder's ``admin-token``.
"""

from __future__ import annotations

import dataclasses
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from infra.core.errors import PullwrightError
from infra.local.forge import seed
from infra.local.forge.faults import Fault
from infra.local.forge.git.cgi import Receive, Scope, Send
from infra.local.forge.git.processes import GitFailed
from infra.local.forge.pages.site import own_hosts

if TYPE_CHECKING:
    from infra.local.forge.forge import Forge

_MAX_BODY = 4 * 1024 * 1024


class Admin:
    """An ASGI application."""

    def __init__(self, forge: Forge, token: str) -> None:
        self._forge = forge
        self._token = token
        self._routes: dict[tuple[str, str], Callable[[bytes], Awaitable[Any]]] = {
            ("POST", "seed"): self._seed,
            ("POST", "faults"): self._fault,
            ("POST", "drain"): self._drain,
            ("POST", "ping"): self._ping,
            ("GET", "calls"): self._calls,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.headers.get("host", "") not in own_hosts(self._forge.world):
            return _json({"error": "This address is not the forge's own."}, 421)
        name = request.url.path.removeprefix("/_forge/")
        if (request.method, name) == ("GET", "health"):
            return _json({"status": "ok", "url": self._forge.url, "api_url": self._forge.api_url})
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _json({"error": "Send the content of the data folder's admin-token as a bearer token."}, 401)
        handler = self._routes.get((request.method, name))
        if handler is None:
            return _json({"error": f"There is no {request.method} {request.url.path}."}, 404)
        return await _guarded(handler, request)

    async def _seed(self, raw: bytes) -> Any:
        return await seed.apply(self._forge, seed.parse(raw))

    async def _fault(self, raw: bytes) -> Any:
        self._forge.faults.add(msgspec.json.decode(raw, type=Fault))
        return {"waiting": self._forge.faults.waiting}

    async def _drain(self, _: bytes) -> Any:
        await self._forge.drain()
        return {"deliveries": len(self._forge.world.deliveries)}

    async def _ping(self, raw: bytes) -> Any:
        self._forge.ping(msgspec.json.decode(raw, type=dict[str, int])["app"])
        return {}

    async def _calls(self, _: bytes) -> Any:
        return [dataclasses.asdict(row) for row in self._forge.calls]


async def _guarded(handler: Callable[[bytes], Awaitable[Any]], request: Request) -> Response:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_BODY:
            return _json({"error": "The document is too large."}, 413)
    try:
        return _json(await handler(raw), 200)
    except (msgspec.MsgspecError, PullwrightError, GitFailed, ValueError, KeyError, OSError, re.error) as error:
        return _json({"error": str(error)}, 422)


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status_code=status, media_type="application/json")
