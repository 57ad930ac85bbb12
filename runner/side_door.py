"""The way from ``claude-runner assist`` to the runner of the same run on the same machine: a unix socket beside the run's log.

Only the runner that holds the lease may write the run's timeline, so the other program asks it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.core.errors import Invalid, NotFound, PullwrightError
from infra.core.timeline import EventType
from runner.agents.port import Sink
from runner.assist import KIND, check_address

_NAME = "runner.sock"
_LINE_BYTES = 4_096


@asynccontextmanager
async def side_door(folder: Path, tell: Sink) -> AsyncIterator[None]:
    """Open while the run is; whoever came in learns of its end by the end of the connection. Closed to other users."""
    path = _path(folder)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    inside: set[asyncio.StreamWriter] = set()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside.add(writer)
        try:
            writer.write(await _answer(await reader.readline(), tell))
            await writer.drain()
            await reader.read()  # until one of the two goes
        except ConnectionError:
            pass
        finally:
            inside.discard(writer)
            writer.close()

    server = await asyncio.start_unix_server(enter, path, limit=_LINE_BYTES)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        for writer in tuple(inside):
            writer.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


async def _answer(line: bytes, tell: Sink) -> bytes:
    try:
        address = check_address(str(json.loads(line)["url"]))
    except (ValueError, KeyError, TypeError, PullwrightError):
        return b"no\n"
    await tell(EventType.ASSIST, {"type": KIND, "url": address})
    return b"ok\n"


async def announce(folder: Path, address: str) -> asyncio.StreamReader:
    """Tells the runner of the run; the end of what is returned is the end of the run.

    Raises ``NotFound`` when no runner of this machine works on it, ``Invalid`` when it does not take the address.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(_path(folder))
    except OSError as error:
        raise NotFound(
            "No runner of this machine works on that run.",
            code="no_runner_here",
            hint="Start it first: claude-runner start --run-id … --token …, in this same folder.",
        ) from error
    writer.write(json.dumps({"url": address}).encode() + b"\n")
    if await reader.readline() != b"ok\n":
        raise Invalid("The runner does not take that address.", code="invalid_assist")
    return reader


def _path(folder: Path) -> Path:
    """As seen from here where that is shorter: a socket's path holds 107 bytes. https://man7.org/linux/man-pages/man7/unix.7.html"""
    with contextlib.suppress(ValueError):
        near = Path(os.path.relpath(folder / _NAME))
        return min(near, folder / _NAME, key=lambda each: len(str(each)))
    return folder / _NAME
