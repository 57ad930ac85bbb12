"""Timelines in the store: chunks of consecutive events under their run, keyed by their first sequence number.

The key makes appending a create-if-absent: two writers that believe they hold the same number cannot both win, and a
batch that is sent again finds its chunk already there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.core.errors import AlreadyExists
from infra.core.ids import RunId
from infra.core.store import Create, Documents, Query, Where
from infra.core.timeline import Chunk, Event, next_chunk
from infra.records.codec import decode, encode


def _collection(run_id: RunId) -> str:
    return f"runs/{run_id}/chunks"


@dataclass(frozen=True, slots=True)
class Timelines:
    store: Documents

    async def next_sequence(self, run_id: RunId) -> int:
        """The number that the run's next event must have (1 for a new run)."""
        page = await self.store.query(_collection(run_id), Query(order_by="last", descending=True, limit=1))
        return decode(page.documents[0], Chunk).last + 1 if page.documents else 1

    async def append(self, run_id: RunId, events: Sequence[Event]) -> int:
        """Stores what is new of a batch and returns the next expected number. Raises ``Invalid`` for gaps (see ``next_chunk``)."""
        chunk = next_chunk(await self.next_sequence(run_id), events)
        if chunk is None:
            return await self.next_sequence(run_id)
        try:
            await self.store.commit(Create(f"{_collection(run_id)}/{chunk.first:012d}", encode(chunk)))
        except AlreadyExists:
            # the same batch arrived twice at once; whoever won stored it
            return await self.next_sequence(run_id)
        return chunk.last + 1

    async def read(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """Events with a sequence above ``after``, in order, at least ``limit`` of them if there are that many (whole chunks)."""
        events: list[Event] = []
        query = Query(where=(Where("last", ">", after),), order_by="last", limit=50)
        while len(events) < limit:
            page = await self.store.query(_collection(run_id), query)
            for document in page.documents:
                events.extend(event for event in decode(document, Chunk).events if event.sequence > after)
            if page.cursor is None:
                break
            query = Query(where=query.where, order_by="last", limit=50, after=page.cursor)
        return tuple(events[:limit])
