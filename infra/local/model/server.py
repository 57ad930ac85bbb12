"""The scripted model on a socket of its own, inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import uvicorn

from infra.local.model.app import Call, MessagesApi, create_app
from infra.local.model.library import Library


class _Embedded(uvicorn.Server):
    """Leaves signals to the program around it, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ScriptedModel:
    """``async with ScriptedModel(library) as model:`` serves at ``model.url``; ``port`` 0 takes a free one.

    ``pace`` is the pause before each delta, in seconds. Raises ``OSError`` when the port is taken.
    """

    def __init__(
        self,
        library: Library,
        *,
        key: str = "",
        pace: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        log_size: int = 500,
    ) -> None:
        self._api = MessagesApi(library, key=key, pace=pace, log_size=log_size)
        self._address = (host, port)
        # A scripted cut of the connection is not an error of the server; below "critical" uvicorn logs its traceback.
        app, level = create_app(self._api), "critical"
        config = uvicorn.Config(app, lifespan="off", access_log=False, log_config=None, log_level=level)
        self._server = _Embedded(config)
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        if self._socket is None:
            raise RuntimeError("the scripted model is not running; enter it first")
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def calls(self) -> Sequence[Call]:
        """Requests for messages, oldest first."""
        return tuple(self._api.calls)

    async def __aenter__(self) -> Self:
        self._socket = _listening(self._address)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await self._server.ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.stop()
        self._server.should_exit = True
        if self._task is not None:
            await self._task


def _listening(address: tuple[str, int]) -> socket.socket:
    """asyncio turns Nagle's algorithm off only where the socket's protocol is named; each answer would wait 40 ms otherwise.
    https://github.com/python/cpython/blob/3.11/Lib/asyncio/base_events.py (``_set_nodelay``)"""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
