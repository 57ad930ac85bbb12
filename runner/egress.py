"""The agent's way to the internet, as narrow as its project allows: a forward proxy for listed names at public addresses.

``CONNECT host:443`` becomes a tunnel, ``GET http://host/…`` is fetched. The proxy resolves names itself and connects to the very
address that it checked, so that a name which changes its mind between check and use gains nothing. It listens on
loopback, and on a unix socket where the sandbox has no network.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import h11

from infra.core.egress import (
    HTTP_PORT,
    HTTPS_PORT,
    AllowList,
    Target,
    check_addresses,
    read_authority,
)
from infra.core.errors import Forbidden, Invalid, PullwrightError, RateLimited, Unavailable
from runner.loopback import unix_options

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Name and port → addresses as text. Raises ``OSError``."""

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Address and port → connection. Raises ``OSError``."""

_CHUNK = 64 * 1024
_MOST_BLOCKED_TOLD = 50
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_STATUS = {Invalid: 400, Forbidden: 403, RateLimited: 429, Unavailable: 502}


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressLimits:
    """``connections`` at once; ``seconds`` of one connection and of its silence; ``bytes_out`` and ``bytes_in`` of the whole run."""

    connections: int = 64
    header_bytes: int = 16 * 1024
    header_seconds: float = 10.0
    connect_seconds: float = 20.0
    idle_seconds: float = 120.0
    seconds: float = 1500.0
    bytes_out: int = 64 * 1024**2
    bytes_in: int = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class _Request:
    """``path`` is empty for a tunnel."""

    method: bytes
    target: Target
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]


async def system_resolver(host: str, port: int) -> list[str]:
    """This machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=sockets.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Egress:
    """Serves one run while its context is open. ``port`` and ``socket`` are where it listens.

    ``blocked`` is called once for each thing that was refused, with a sentence for the timeline.
    """

    def __init__(
        self,
        *,
        allowed: AllowList,
        blocked: Callable[[str], Coroutine[Any, Any, None]],
        socket: Path | None = None,
        limits: EgressLimits = EgressLimits(),
        resolve: Resolve = system_resolver,
        dial: Dial = asyncio.open_connection,
    ) -> None:
        self.port = 0
        self.socket = socket
        self._allowed = allowed
        self._blocked = blocked
        self._limits = limits
        self._resolve = resolve
        self._dial = dial
        self._told: set[str] = set()
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()
        self._out = 0
        self._in = 0

    async def __aenter__(self) -> Self:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._servers.append(listener)
        self.port = listener.sockets[0].getsockname()[1]
        if self.socket is not None:
            options = await asyncio.to_thread(unix_options, self.socket)
            self._servers.append(await asyncio.start_unix_server(self._accept, **options))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await asyncio.sleep(0)  # for the transports to let go of their sockets

    def environment(self) -> dict[str, str]:
        """What makes programs use it; the model's broker is on loopback and stays outside of it."""
        url, direct = f"http://127.0.0.1:{self.port}", "127.0.0.1,localhost"
        upper = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": direct}
        return {**upper, **{name.lower(): value for name, value in upper.items()}, "NODE_USE_ENV_PROXY": "1"}

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._answer(connection, reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # the agent's connection ends; its program sees that, and nobody else needs to
        except asyncio.CancelledError:  # the run is over: what is not yet sent has no reader any more
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _answer(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            request = await self._read_request(connection, reader)
            if len(self._open) > self._limits.connections:
                raise RateLimited(f"More than {self._limits.connections} connections at once are not allowed.")
            async with self._connected(request.target) as (upstream, down):
                if request.path:
                    await self._fetch(request, (reader, writer), (upstream, down))
                else:
                    await self._tunnel(connection, (reader, writer), (upstream, down))
        except PullwrightError as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
            writer.write(_refusal(status, f"{error.message} {error.hint}".strip()))
            await writer.drain()

    async def _read_request(self, connection: h11.Connection, reader: asyncio.StreamReader) -> _Request:
        """The one request of this connection, of which nothing but the allowed is left."""
        try:
            async with asyncio.timeout(self._limits.header_seconds):
                while (event := connection.next_event()) is h11.NEED_DATA:
                    connection.receive_data(await reader.read(_CHUNK))
        except h11.RemoteProtocolError as error:
            raise Invalid(f"This is not a request that a proxy understands: {error}.") from error
        if not isinstance(event, h11.Request):
            raise ConnectionResetError
        return await self._checked(event)

    async def _checked(self, request: h11.Request) -> _Request:
        asked = request.target.decode("ascii", "replace")
        try:
            if request.method == b"CONNECT":
                target, path, port = read_authority(asked), b"", HTTPS_PORT
            else:
                target, path, port = *_absolute(asked), HTTP_PORT
        except Invalid as error:
            await self._tell(f"blocked: {asked[:100]} – {error.message}")
            raise Forbidden(f"{asked[:100]} is refused: {error.message}.") from error
        host = target.host
        if not self._allowed.permits(host):
            await self._tell(f"blocked: {host} – add it to allowedDomains to permit")
            raise Forbidden(f"blocked: {host} – add it to allowedDomains to permit")
        if target.port != port:
            await self._tell(f"blocked: {host}:{target.port} – only port {port} is open for this kind of request")
            raise Forbidden(f"Only port {port} is open for this kind of request.")
        if path and request.method not in {b"GET", b"HEAD"}:
            raise Forbidden("Without encryption only GET and HEAD are allowed.")
        return _Request(request.method, target, path, tuple(request.headers))

    @asynccontextmanager
    async def _connected(self, target: Target) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to an address that was checked. A name that leads anywhere private leads nowhere."""
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                found = await self._resolve(target.host, target.port)
                reader, writer = await self._dial_first(check_addresses(target.host, found), target.port)
        except Forbidden as error:
            await self._tell(f"blocked: {target.host} – {error.message}")
            raise
        except (OSError, TimeoutError, ValueError) as error:
            raise Unavailable(f"{target.host} cannot be reached ({type(error).__name__}).") from error
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _dial_first(
        self, addresses: tuple[object, ...], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        *others, last = addresses
        for address in others[:3]:
            with contextlib.suppress(OSError):
                return await self._dial(str(address), port)
        return await self._dial(str(last), port)

    async def _tunnel(
        self,
        connection: h11.Connection,
        inner: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outer: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        inner[1].write(
            connection.send(h11.Response(status_code=200, headers=[], reason=b"Connection established")) or b""
        )
        early = connection.trailing_data[0]
        if early:
            self._count(len(early), outwards=True)
            outer[1].write(early)
        await _first_failure(
            self._pump(inner[0], outer[1], outwards=True), self._pump(outer[0], inner[1], outwards=False)
        )

    async def _fetch(
        self,
        request: _Request,
        inner: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outer: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Asks with headers of the connection's own left out; the answer passes as it comes, until its end."""
        upstream = h11.Connection(h11.CLIENT)
        kept = [
            (name, value) for name, value in request.headers if name not in _HOP_BY_HOP | {b"host", b"content-length"}
        ]
        headers = [(b"host", request.target.host.encode()), *kept, (b"connection", b"close")]
        head = upstream.send(h11.Request(method=request.method, target=request.path, headers=headers))
        assert head is not None
        self._count(len(head), outwards=True)
        outer[1].write(head)
        await self._pump(outer[0], inner[1], outwards=False)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, outwards: bool) -> None:
        while True:
            async with asyncio.timeout(self._limits.idle_seconds):
                data = await source.read(_CHUNK)
            if not data:
                break
            self._count(len(data), outwards=outwards)
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError, RuntimeError):
            sink.write_eof()

    def _count(self, size: int, *, outwards: bool) -> None:
        """Raises ``ConnectionResetError`` once the run has had its share."""
        if outwards:
            self._out += size
        else:
            self._in += size
        if self._out > self._limits.bytes_out or self._in > self._limits.bytes_in:
            raise ConnectionResetError

    async def _tell(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < _MOST_BLOCKED_TOLD:
            self._told.add(sentence)
            await self._blocked(sentence)


def _absolute(asked: str) -> tuple[Target, bytes]:
    """Target and path of ``http://host/path``. Raises ``Invalid``."""
    try:
        url = urlsplit(asked)
    except ValueError as error:
        raise Invalid("it is not an address of the web") from error
    if url.scheme != "http" or "@" in url.netloc:
        raise Invalid("a proxy takes CONNECT, or GET with a whole http:// address")
    path = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
    return read_authority(url.netloc, default_port=HTTP_PORT), path.encode()


def _refusal(status: int, sentence: str) -> bytes:
    body = f"{sentence}\n".encode()
    head = f"HTTP/1.1 {status} Refused\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


async def _first_failure(*works: Coroutine[Any, Any, None]) -> None:
    """Waits for all; when one fails, the others are stopped and its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
