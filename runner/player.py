"""Plays a cassette in the model's place: each question gets the answer that was recorded for it.

A question is looked for by what it says (``runner/asked.py``). One that says something else but stands at the same place of the
same conversation – a test that printed another number – gets that place's answer, and the difference is noted. One that has no
place in the recording gets an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from runner.answer_text import Rewriter, rewritten
from runner.asked import Asked, Reader
from runner.cassette import Recorded
from runner.model_protocol import error_body
from runner.recorder import Ended

_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where a replay asked something else. ``number``: of the recorded exchange, from 1; 0 when none fits."""

    number: int
    recorded: str
    asked: str


class _Cut(Exception):
    """Raised inside a response to drop the connection, as it was dropped when it was recorded."""


@dataclass(slots=True)
class Player:
    """An ASGI application. ``differences`` in the order in which they were met; ``missing``: questions without an answer;
    ``alike``: questions that were the recorded ones. ``real_time``: answers come as slowly as they were recorded."""

    exchanges: Sequence[Recorded]
    reader: Reader
    rewriter: Rewriter
    real_time: bool = False
    differences: list[Difference] = field(default_factory=list)
    missing: int = 0
    alike: int = 0
    _left: dict[int, Recorded] = field(init=False)

    def __post_init__(self) -> None:
        self._left = dict(enumerate(self.exchanges, 1))

    @property
    def unasked(self) -> int:
        """Recorded exchanges that nobody asked for."""
        return len(self._left)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            asked = self.reader.read(request.url.path, await request.body())
        except ClientDisconnect:
            return
        found = self._find(asked)
        if found is None:
            await self._unknown(send, asked)
        elif found.ended is Ended.UNREACHABLE and found.status == 0:
            await self._fail(send, 502, "api_error", "The model's server could not be reached, as it was recorded.")
        else:
            await self._play(found, send)

    def _find(self, asked: Asked) -> Recorded | None:
        number = min(self._fitting(asked), default=(0, 0))[1]
        if not number:
            return None
        recorded = self._left.pop(number)
        if recorded.asked.fingerprint == asked.fingerprint:
            self.alike += 1
        else:
            self.differences.append(_difference(number, recorded.asked, asked))
        return recorded

    def _fitting(self, asked: Asked) -> Iterator[tuple[int, int]]:
        """How far off, and the number, of every exchange that may stand for it."""
        for number, each in self._left.items():
            other = each.asked
            if (other.path, other.model, other.streamed) == (asked.path, asked.model, asked.streamed):
                if other.fingerprint == asked.fingerprint:
                    yield 0, number
                elif (other.depth, len(other.news)) == (asked.depth, len(asked.news)):
                    yield 1 if other.conversation == asked.conversation else 2, number

    async def _unknown(self, send: Send, asked: Asked) -> None:
        self.missing += 1
        recorded = next(iter(self._left.values()), None)
        told = _difference(0, recorded.asked if recorded else None, asked)
        self.differences.append(told)
        await self._fail(send, 400, "invalid_request_error", "The recording holds no answer to this.")

    async def _fail(self, send: Send, status: int, kind: str, message: str) -> None:
        retry = b"true" if status >= 500 else b"false"
        headers = [(b"content-type", b"application/json"), (b"x-should-retry", retry)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": error_body(kind, message)})

    async def _play(self, recorded: Recorded, send: Send) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in recorded.headers.items()]
        await send({"type": "http.response.start", "status": recorded.status, "headers": headers})
        stream = recorded.headers.get("content-type", "").startswith("text/event-stream")
        chunks = rewritten([chunk.text.encode() for chunk in recorded.chunks], self.rewriter, stream=stream)
        times = [chunk.at for chunk in recorded.chunks]
        past = 0
        for number, chunk in enumerate(chunks):
            at = times[min(number, len(times) - 1)]
            await asyncio.sleep(max(at - past, 0) / 1000 if self.real_time else 0)
            past = at
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if recorded.ended is not Ended.WHOLE or not recorded.complete:
            raise _Cut
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _difference(number: int, recorded: Asked | None, asked: Asked) -> Difference:
    """The first of the new turns that differs, from where it begins to differ."""
    before = recorded.news if recorded else ()
    for old, new in zip(before, asked.news, strict=False):
        if old != new:
            at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            start = max(0, at - 40)
            return Difference(number=number, recorded=old[start:][:_SHOWN], asked=new[start:][:_SHOWN])
    if before == asked.news:
        return Difference(number=number, recorded="an earlier turn", asked="says something else")
    return Difference(
        number=number, recorded="\n".join(before)[:_SHOWN] or "nothing more", asked="\n".join(asked.news)[:_SHOWN]
    )
