"""Deliveries that did not arrive, until they have; and up to when GitHub's list was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import DAY, Instant, later
from infra.core.errors import AlreadyExists
from infra.core.hook import Missed
from infra.core.store import Create, Delete, Documents, Put, Query, Where
from infra.records.codec import decode, encode

COLLECTION = "missed"
_STATE = "hooks/github"
_KEPT = 30 * DAY


@dataclass(frozen=True, slots=True)
class MissedDeliveries:
    store: Documents

    async def looked_until(self) -> Instant | None:
        """All attempts up to this moment were looked at; None at the first time."""
        document = await self.store.get(_STATE)
        return Instant(document.data["until"]) if document else None

    async def look_from(self, until: Instant) -> None:
        await self.store.commit(Put(_STATE, {"until": until}))

    async def add(self, missing: Missed) -> bool:
        """False when it was known already."""
        try:
            await self.store.commit(
                Create(f"{COLLECTION}/{missing.guid}", encode(missing), later(missing.first_at, _KEPT))
            )
        except AlreadyExists:
            return False
        return True

    async def change(self, missing: Missed) -> None:
        await self.store.commit(Put(f"{COLLECTION}/{missing.guid}", encode(missing), later(missing.first_at, _KEPT)))

    async def forget(self, guid: str) -> None:
        await self.store.commit(Delete(f"{COLLECTION}/{guid}"))

    async def due(self, now: Instant, limit: int = 50) -> tuple[Missed, ...]:
        """Longest overdue first. What was given up has no ``next_at`` and costs nothing."""
        query = Query(where=(Where("next_at", "<=", now),), order_by="next_at", limit=limit)
        page = await self.store.query(COLLECTION, query)
        return tuple(decode(document, Missed) for document in page.documents)
