"""A small HTTP server that remembers what it was sent and answers as told: the receiving end of queues."""

import asyncio
import socket
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class Received:
    """``at``: seconds of ``time.monotonic``."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(slots=True)
class Receiver:
    """``busiest``: the most requests that were open at once."""

    url: str
    requests: list[Received] = field(default_factory=list)
    busiest: int = 0
    _open: int = 0
    _answers: dict[str, deque[tuple[int, dict[str, str]]]] = field(default_factory=lambda: defaultdict(deque))
    _held: dict[str, asyncio.Event] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def answer(self, path: str, *statuses: int, **headers: str) -> None:
        """The next requests to ``path`` get these statuses; later ones 200 again. ``retry_after`` becomes Retry-After."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers[path].extend((status, named) for status in statuses)

    def hold(self, path: str) -> asyncio.Event:
        """Requests to ``path`` are not answered before the event is set."""
        return self._held.setdefault(path, asyncio.Event())

    def at(self, path: str) -> list[Received]:
        return [request for request in self.requests if request.path == path]

    async def until(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        """Waits until the condition holds; it is asked again with each request."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def until_count(self, path: str, count: int) -> list[Received]:
        await self.until(lambda: len(self.at(path)) >= count)
        return self.at(path)

    async def handle(self, request: Request) -> Response:
        received = Received(request.url.path, dict(request.headers), await request.body(), time.monotonic())
        self._open += 1
        self.busiest = max(self.busiest, self._open)
        async with self._changed:
            self.requests.append(received)
            self._changed.notify_all()
        try:
            if received.path in self._held:
                await self._held[received.path].wait()
        finally:
            self._open -= 1
        answers = self._answers[received.path]
        status, headers = answers.popleft() if answers else (200, {})
        return Response(status_code=status, headers=headers)


class _Server(uvicorn.Server):
    """Leaves signals to pytest and stops at once instead of at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.enough = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.enough.wait()


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """The app on a socket of this machine; its address."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app, lifespan="off", access_log=False, log_config=None, timeout_graceful_shutdown=1, log_level="critical"
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.enough.set()
        await serving
        listener.close()


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver(url="")
    app = Starlette(routes=[Route("/{path:path}", receiver.handle, methods=["POST"])])
    async with served(app, port) as receiver.url:
        try:
            yield receiver
        finally:
            for event in receiver._held.values():
                event.set()
