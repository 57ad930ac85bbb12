"""The change feed over Firestore: one bounded poll per collection and process, shared by all who follow it.

Why a poll: google-cloud-firestore's ``AsyncClient`` has no listeners (``on_snapshot`` raises ``NotImplementedError``), and
the synchronous client's would need a thread and a second channel for each collection. A poll that finds nothing costs one
read, whoever many follow; a listener bills one read for each change as well. https://firebase.google.com/docs/firestore/pricing

Why windows: documents carry the server's time of their last write (``changed_at``), which is taken when a request is
processed, not when its commit becomes visible. A commit can therefore appear behind one with a later time, and several
can share a time. So each poll looks back by ``OVERLAP`` and forgets what it has told already; a time is left behind for
good only when it is older than that. A resumed feed starts its window before its cursor: it may repeat, it cannot skip.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from infra.core.clock import Clock
from infra.core.errors import Invalid, PullwrightError, Unavailable
from infra.core.store import Change, Document

OVERLAP = 10_000_000
"""Microseconds; longer than a commit takes and clocks differ."""

PAGE = 100

_KEPT = 2 * PAGE  # a follower that is further behind reads its part of the collection itself


class Entry(NamedTuple):
    """A document with its ``changed_at`` and its commit time, in microseconds."""

    document: Document
    changed_at: int
    committed_at: int

    @property
    def change(self) -> Change:
        return Change(self.document, str(self.changed_at))


Reader = Callable[[int, Entry | None], Awaitable[list[Entry]]]
"""``reader(low, after)``: at most ``PAGE`` entries with ``changed_at >= low``, ordered by it and the id, after ``after``."""


async def _pages(reader: Reader, low: int) -> AsyncIterator[list[Entry]]:
    """All pages from ``low`` on."""
    last: Entry | None = None
    while True:
        page = await reader(low, last)
        yield page
        if len(page) < PAGE:
            return
        last = page[-1]


def parse_cursor(cursor: str) -> int:
    """Raises ``Invalid`` for a text that is not a cursor of this feed."""
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 18):
        raise Invalid("That cursor does not belong to this feed.", code="invalid_cursor")
    return int(cursor)


class Feed:
    """Follows one collection while somebody listens."""

    def __init__(self, reader: Reader, clock: Clock, poll_seconds: float) -> None:
        self._reader = reader
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._told: deque[Entry] = deque(maxlen=_KEPT)
        self._count = 0  # of all that was ever told; the deque holds the last of them
        self._news = asyncio.Event()
        self._followers = 0
        self._task: asyncio.Task[None] | None = None
        self._failure: PullwrightError | None = None
        self._closed = False

    async def follow(self, since: int, cursor: int | None) -> AsyncIterator[Change]:
        """What was committed after ``since``; with ``cursor`` all since that change, whenever it was committed."""
        self._join()
        try:
            low, floor = (since, since) if cursor is None else (cursor, 0)
            told: dict[str, int] = {}
            behind = True
            while not self._closed:
                if behind:
                    position, recent = self._count, self._now() - 2 * OVERLAP
                    async for entry in _each(self._reader, low - OVERLAP):
                        low = max(low, entry.changed_at)
                        if entry.changed_at >= recent:
                            told[entry.document.path] = entry.committed_at
                        if entry.committed_at > floor:
                            yield entry.change
                for entry in self._told_after(position):
                    position += 1
                    low = max(low, entry.changed_at)
                    if entry.committed_at > max(floor, told.get(entry.document.path, 0)):
                        yield entry.change
                behind = self._count - position > len(self._told)
                if position == self._count:
                    await self._next()
        finally:
            self._leave()

    def close(self) -> None:
        """Ends the iteration of all followers."""
        self._closed = True
        self._stop()
        self._news.set()

    def _told_after(self, position: int) -> list[Entry]:
        missing = self._count - position
        return list(self._told)[-missing:] if 0 < missing <= len(self._told) else []

    async def _next(self) -> None:
        if self._failure is not None:
            raise self._failure
        await self._news.wait()

    def _join(self) -> None:
        self._followers += 1
        if self._task is None:
            self._failure = None
            self._task = asyncio.create_task(self._poll())

    def _leave(self) -> None:
        self._followers -= 1
        if self._followers == 0:
            self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _now(self) -> int:
        return self._clock() * 1_000

    async def _poll(self) -> None:
        seen: dict[str, Entry] = {}
        low = self._now() - OVERLAP
        while True:
            settled = self._now() - OVERLAP
            try:
                async for page in _pages(self._reader, low):
                    self._tell(page, seen)
                low = max(low, settled)
            except Unavailable:
                pass  # the next poll asks for the same again
            except PullwrightError as error:
                # no permission, say: asking again would not help, and the followers must know
                self._failure, self._task = error, None
                self._wake()
                return
            seen = {path: entry for path, entry in seen.items() if entry.changed_at >= low}
            await asyncio.sleep(self._poll_seconds)

    def _tell(self, page: list[Entry], seen: dict[str, Entry]) -> None:
        fresh = [entry for entry in page if _is_new(entry, seen)]
        seen.update((entry.document.path, entry) for entry in fresh)
        self._told.extend(sorted(fresh, key=lambda entry: entry.committed_at))
        self._count += len(fresh)
        if fresh:
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


async def _each(reader: Reader, low: int) -> AsyncIterator[Entry]:
    async for page in _pages(reader, low):
        for entry in page:
            yield entry


def _is_new(entry: Entry, seen: dict[str, Entry]) -> bool:
    known = seen.get(entry.document.path)
    return known is None or known.document.revision != entry.document.revision
