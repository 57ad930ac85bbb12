"""A response that is written while things happen, to readers who may stop reading.

``send`` waits while the reader's buffers are full. Who lets it wait too long is cut: it gets the reason when it reads again
soon, and the connection is closed in any case; the server holds no more of it meanwhile than the piece that waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dispatcher.frames import cut_frame

PATIENCE_SECONDS = 30.0
"""How long a reader may let a write wait."""

FAREWELL_SECONDS = 60.0
"""How long the reason for the cut waits for a reader."""

_log = logging.getLogger("dispatcher")


class EventStream(StreamingResponse):
    """Server-sent events; ends when the frames do, when the reader goes, or when it stops reading."""

    def __init__(self, frames: AsyncGenerator[bytes, None], *, run_id: str) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(frames, media_type="text/event-stream", headers=headers)
        self._frames = frames
        self._run_id = run_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        writing = asyncio.create_task(self._write(send), name=f"stream {self._run_id}")
        leaving = asyncio.create_task(_left(receive), name=f"reader of {self._run_id}")
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            done = await asyncio.gather(writing, leaving, return_exceptions=True)
        if isinstance(done[0], Exception):
            raise done[0]

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        last = b""
        try:
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await send({"type": "http.response.body", "body": frame, "more_body": True})
        except TimeoutError:
            _log.info("slow reader cut", extra={"run_id": self._run_id})
            last = cut_frame(PATIENCE_SECONDS)
        await self._finish(send, last)

    async def _finish(self, send: Send, last: bytes) -> None:
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await send({"type": "http.response.body", "body": last, "more_body": False})
        except TimeoutError:
            _log.info("slow reader never came back", extra={"run_id": self._run_id})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
