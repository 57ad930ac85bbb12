"""Timelines in the store: chunks of consecutive events under their run, keyed by their first sequence number.

The key makes appending a create-if-absent: two writers that believe they hold the same number cannot both win, and a
batch that is sent again finds its chunk already there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from infra.core.clock import DAY, Instant, later
from infra.core.errors import AlreadyExists
from infra.core.ids import RunId
from infra.core.store import Create, Document, Documents, Query, Where
from infra.core.timeline import Chunk, Event, Gap, Stretch, next_chunk
from infra.records.codec import decode, decode_text, encode

_MOST_CHUNKS = 32
"""Of one page; each is a document of at most a megabyte, and most are far smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredChunk:
    """A chunk as its document has it: the events as one JSON text, because nobody asks for them one by one, and a store looks
    at every value of a map. Older documents have them as a list."""

    first: int
    last: int
    events: str | tuple[Event, ...]


def _stored(chunk: Chunk) -> _StoredChunk:
    return _StoredChunk(first=chunk.first, last=chunk.last, events=msgspec.json.encode(chunk.events).decode())


def _events(document: Document) -> tuple[int, tuple[Event, ...]]:
    """The first number, and the events."""
    stored = decode(document, _StoredChunk)
    if isinstance(stored.events, str):
        return stored.first, decode_text(document, stored.events, tuple[Event, ...])
    return stored.first, stored.events


@dataclass(frozen=True, slots=True)
class _Reach:
    """A chunk without its events."""

    last: int


def _collection(run_id: RunId) -> str:
    return f"runs/{run_id}/chunks"


@dataclass(frozen=True, slots=True)
class Timelines:
    """``retention``: milliseconds after which a chunk may be removed."""

    store: Documents
    retention: int = 90 * DAY

    async def next_sequence(self, run_id: RunId) -> int:
        """The number that the run's next event must have (1 for a new run)."""
        page = await self.store.query(_collection(run_id), Query(order_by="last", descending=True, limit=1))
        return decode(page.documents[0], _Reach).last + 1 if page.documents else 1

    async def append(self, run_id: RunId, events: Sequence[Event], now: Instant) -> int:
        """Stores what is new of a batch and returns the next expected number. Raises ``Invalid`` for gaps (see ``next_chunk``)."""
        expected = await self.next_sequence(run_id)
        chunk = next_chunk(expected, events)
        if chunk is None:
            return expected
        path = f"{_collection(run_id)}/{chunk.first:012d}"
        try:
            await self.store.commit(Create(path, encode(_stored(chunk)), later(now, self.retention)))
        except AlreadyExists:
            # the same batch arrived twice at once; whoever won stored it
            return await self.next_sequence(run_id)
        return chunk.last + 1

    async def read(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> Stretch:
        """The events with a sequence above ``after``, in order: whole chunks, until there are ``limit`` events or
        ``_MOST_CHUNKS`` chunks; empty only when there are none."""
        events: list[Event] = []
        first, chunks, cursor = 0, 0, None
        while len(events) < limit and chunks < _MOST_CHUNKS:
            size = _chunks_for(limit - len(events), len(events), chunks)
            query = Query(where=(Where("last", ">", after),), order_by="last", limit=size, after=cursor)
            page = await self.store.query(_collection(run_id), query)
            for document in page.documents:
                start, found = _events(document)
                first = first or start
                events.extend(event for event in found if event.sequence > after)
            chunks, cursor = chunks + len(page.documents), page.cursor
            if cursor is None:
                break
        gap = Gap(first=after + 1, last=first - 1) if first > after + 1 else None
        return Stretch(events=tuple(events), gap=gap)


def _chunks_for(missing: int, found: int, chunks: int) -> int:
    """How many chunks to ask for: one, then by what was in it, because that may be one event or a thousand."""
    if not chunks:
        return 1
    return max(1, min(_MOST_CHUNKS - chunks, -(-missing // max(1, found // chunks))))
