"""Deliveries in the store: what arrived, what was decided and why, and the two locks against doing it twice.

A redelivery keeps its id; a replay can carry a fresh id, because GitHub signs only the body. So a delivery takes two
documents, one keyed by its id and one by the hash of its signed body; both are created in the commit that makes the
run, and whoever comes second finds the first one's answer. https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import DAY, Instant, later
from infra.core.store import Create, Documents, Write
from infra.records.codec import decode, encode

RETENTION = 30 * DAY
"""GitHub redelivers for 3 days (older texts: 30); after this a body could only be replayed by somebody who kept it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """``outcome``: accepted, ignored or refused; ``run_id`` empty unless accepted."""

    source: str
    id: str
    event: str
    outcome: str
    reason: str
    run_id: str
    received_at: Instant


@dataclass(frozen=True, slots=True)
class Deliveries:
    store: Documents

    @staticmethod
    def creations(delivery: Delivery, *, id_key: str, body_key: str | None) -> tuple[Write, ...]:
        """The locks; losing either (``AlreadyExists``) means the delivery was already dealt with."""
        data = encode(delivery)
        expire_at = later(delivery.received_at, RETENTION)
        keys = [id_key] if body_key is None else [id_key, body_key]
        return tuple(Create(f"deliveries/{key}", data, expire_at) for key in keys)

    async def find(self, *keys: str) -> Delivery | None:
        """The first of these that was seen before."""
        for key in keys:
            document = await self.store.get(f"deliveries/{key}")
            if document is not None:
                return decode(document, Delivery)
        return None
