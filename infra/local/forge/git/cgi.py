"""A CGI bridge for one program: streams the request in and the answer out, and ends the program when the client goes.

Used for ``git http-backend``, https://git-scm.com/docs/git-http-backend
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]

_CHUNK = 65_536
_MAX_HEAD = 16_384
_logger = logging.getLogger(__name__)


async def bridge(
    process: asyncio.subprocess.Process, receive: Receive, send: Send, before_last: Callable[[], Awaitable[None]]
) -> None:
    """``before_last`` runs when the program has ended, before the client can see the end of the answer.

    So whoever has seen a push succeed finds the forge informed of it. Returns early when the client disconnects.
    """
    feeding = asyncio.create_task(_feed(process, receive))
    complaining = asyncio.create_task(_log_errors(process))
    answering = asyncio.create_task(_answer(process, send, before_last))
    try:
        await asyncio.wait({feeding, answering}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            await answering
    finally:
        for task in (feeding, answering, complaining):
            task.cancel()
        await asyncio.gather(feeding, answering, complaining, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, receive: Receive) -> None:
    """Ends only when the client disconnects."""
    assert process.stdin is not None
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        # The program may stop reading before the body ends; what it answers counts.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(message.get("body", b""))
            await process.stdin.drain()
            if not message.get("more_body", False):
                process.stdin.close()


async def _answer(process: asyncio.subprocess.Process, send: Send, before_last: Callable[[], Awaitable[None]]) -> None:
    assert process.stdout is not None
    status, headers = await _head(process.stdout)
    held: bytes | None = None
    started = False
    while chunk := await process.stdout.read(_CHUNK):
        if held is not None:
            if not started:
                await send({"type": "http.response.start", "status": status, "headers": headers})
                started = True
            await send({"type": "http.response.body", "body": held, "more_body": True})
        held = chunk
    await process.wait()
    await before_last()
    if not started:
        await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": held or b""})


async def _head(stdout: asyncio.StreamReader) -> tuple[int, list[tuple[bytes, bytes]]]:
    try:
        head = await stdout.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return 500, [(b"content-type", b"text/plain")]
    status, headers = 200, []
    for line in head[:_MAX_HEAD].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"status":
            status = int(value.split()[0])
        elif name:
            headers.append((name.lower(), value.strip()))
    return status, headers


async def _log_errors(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while words := await process.stderr.read(_CHUNK):
        _logger.info("git http-backend: %s", words.decode(errors="replace").strip())
