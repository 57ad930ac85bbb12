"""Serves an ASGI application on a loopback port, inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_GRACE = 2
"""Seconds for requests in progress when the server stops; then they are cancelled."""


class _Quiet(uvicorn.Server):
    """Leaves signals to the program around it, and stops at once instead of at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.enough = asyncio.Event()

    async def main_loop(self) -> None:
        while not self.enough.is_set():
            await self.on_tick(0)  # renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.enough.wait(), 1)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """``port`` 0 takes a free one; ``url`` is known once started."""

    def __init__(self, app: Any, *, port: int = 0) -> None:
        self._connections: dict[Any, asyncio.Transport] = {}
        self._socket = _listening(port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=_tracking(self._connections),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_level="critical",
            timeout_graceful_shutdown=_GRACE,
        )
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        self._server.enough.set()
        if self._task is not None:
            await self._task
            await asyncio.gather(*self._server.server_state.tasks, return_exceptions=True)
        self._socket.close()

    def abort(self, client: Any) -> None:
        """Breaks that client's connection at once."""
        transport = self._connections.get(tuple(client))
        if transport is not None:
            transport.abort()


def _listening(port: int) -> socket.socket:
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer waits 40 ms for a delayed
    # acknowledgement. https://github.com/python/cpython/blob/3.11/Lib/asyncio/base_events.py (_set_nodelay)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    listener.listen(512)
    return listener


def _tracking(connections: dict[Any, asyncio.Transport]) -> type[asyncio.Protocol]:
    """uvicorn's own HTTP protocol, which also notes who is connected."""

    class Tracking(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
            self._peer = transport.get_extra_info("peername")
            connections[self._peer] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self._peer, None)
            super().connection_lost(exc)

    return Tracking
