"""The forge's single ASGI application: log, faults, and then git, REST, administration or pages by path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from infra.local.forge.calls import Calls, Served
from infra.local.forge.faults import Fault, Faults
from infra.local.forge.git.cgi import Message, Receive, Scope, Send
from infra.local.forge.git.smart_http import SmartHttp, is_git
from infra.local.forge.manifest import FORM as MANIFEST_FORM
from infra.local.forge.manifest import Manifests
from infra.local.forge.pages.site import Site
from infra.local.forge.rest.graphql import PATH as GRAPHQL
from infra.local.forge.rest.router import PREFIX, Rest

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ADMIN = "/_forge/"


class Front:
    """``abort``: breaks the TCP connection of a request, given its client address."""

    def __init__(
        self,
        *,
        git: SmartHttp,
        rest: Rest,
        site: Site,
        manifests: Manifests,
        admin: Application,
        faults: Faults,
        calls: Calls,
    ) -> None:
        self._git = git
        self._rest = rest
        self._site = site
        self._manifests = manifests
        self._admin = admin
        self._faults = faults
        self._calls = calls
        self.abort: Callable[[Any], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"The forge speaks HTTP only, not {scope['type']}.")
        if scope["path"].startswith(ADMIN):
            await self._route(scope)(scope, receive, send)
            return
        started, watched = time.perf_counter(), _Watched(send)
        try:
            await self._faulty(scope, receive, watched)
        finally:
            self._calls.add(
                Served(
                    method=scope["method"],
                    path=scope["path"],
                    query=scope["query_string"].decode("latin-1"),
                    status=watched.status,
                    actor=scope.get("forge.actor", ""),
                    body=scope.get("forge.body"),
                    milliseconds=(time.perf_counter() - started) * 1000,
                )
            )

    async def _faulty(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.take(scope["method"], scope["path"])
        if fault is None:
            await self._route(scope)(scope, receive, send)
            return
        await asyncio.sleep(fault.delay)
        if fault.drop == "after":
            await self._route(scope)(scope, receive, _nowhere)
        if fault.drop is not None:
            self._break(scope)
        elif fault.status is not None:
            await _answer(fault, send)
        else:
            await self._route(scope)(scope, receive, send)

    def _break(self, scope: Scope) -> None:
        if self.abort is None:
            raise RuntimeError("A connection can only be dropped when the forge is served over a socket.")
        self.abort(scope["client"])

    def _route(self, scope: Scope) -> Application:
        path = scope["path"]
        if path.startswith(ADMIN) and path != "/_forge/style.css":
            return self._admin
        if path == MANIFEST_FORM:
            return self._manifests
        if path in {PREFIX, GRAPHQL} or path.startswith(f"{PREFIX}/"):
            return self._rest
        return self._git if is_git(path) else self._site


class _Watched:
    """``send`` that remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


async def _nowhere(_: Message) -> None:
    return


async def _answer(fault: Fault, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": fault.body})
