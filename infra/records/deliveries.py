"""Deliveries in the store: what arrived, what was decided and why, and the two locks against doing it twice.

A redelivery keeps its id; a replay can carry a fresh id, because GitHub signs only the body. So a delivery that started or
awaits something takes two documents, one keyed by its id and one by the hash of its signed body; both are created in the
commit that makes the run, and whoever comes second finds the first one's answer.
https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import DAY, Instant, later
from infra.core.store import Create, Documents, Query, Where, Write
from infra.records.codec import decode, encode

COLLECTION = "deliveries"
RETENTION = 30 * DAY
"""GitHub redelivers for 3 days (older texts: 30); after this a body could only be replayed by somebody who kept it."""

ACCEPTED, WAITING, IGNORED, REFUSED, NOTED = OUTCOMES = ("accepted", "waiting", "ignored", "refused", "noted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """``outcome``: accepted (a run began), waiting (behind the run that works on the same subject), ignored (not for us),
    refused (for us, but not allowed) or noted (an event that starts nothing by its nature).

    ``run_id``: the run that began, or that it waits for. ``subject``: what it is about, such as ``issue #7``.
    """

    source: str
    id: str
    event: str
    outcome: str
    reason: str
    run_id: str
    received_at: Instant
    action: str = ""
    repository: str = ""
    subject: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    deliveries: tuple[Delivery, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Deliveries:
    store: Documents

    @staticmethod
    def creations(delivery: Delivery, *, id_key: str, body_key: str | None) -> tuple[Write, ...]:
        """The locks; losing either (``AlreadyExists``) means the delivery was already dealt with."""
        expire_at = later(delivery.received_at, RETENTION)
        record = Create(f"{COLLECTION}/{id_key}", encode(delivery), expire_at)
        if body_key is None:
            return (record,)
        # without a time of its own, so that no list shows the delivery twice
        return record, Create(f"{COLLECTION}/{body_key}", {"delivery": id_key}, expire_at)

    async def find(self, *keys: str) -> Delivery | None:
        """The first of these that was seen before."""
        for key in keys:
            document = await self.store.get(f"{COLLECTION}/{key}")
            if document is not None and "delivery" in document.data:
                document = await self.store.get(f"{COLLECTION}/{document.data['delivery']}")
            if document is not None:
                return decode(document, Delivery)
        return None

    async def list(self, *, outcome: str = "", limit: int = 50, after: str | None = None) -> DeliveryPage:
        """Newest first."""
        where = (Where("outcome", "==", outcome),) if outcome else ()
        query = Query(where=where, order_by="received_at", descending=True, limit=limit, after=after)
        page = await self.store.query(COLLECTION, query)
        return DeliveryPage(tuple(decode(document, Delivery) for document in page.documents), page.cursor)
