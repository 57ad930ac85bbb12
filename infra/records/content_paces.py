"""What each installation has written lately, counted for all processes together."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.content_pace import ContentPace, Weight, count, spend
from infra.core.errors import RateLimited
from infra.core.store import Documents, Transaction, transact
from infra.records.codec import decode, encode


@dataclass(frozen=True, slots=True)
class ContentPaces:
    store: Documents

    async def spend(self, installation_id: int, *, writes: int, weight: Weight, now: Instant) -> None:
        """Room for ``writes`` requests. Raises ``RateLimited`` (``content_pace``) with the time to wait when there is none."""

        async def body(transaction: Transaction) -> int:
            before, created = await _read(transaction, installation_id)
            after, wait = spend(before, writes=writes, weight=weight, now=now)
            if not wait:
                _write(transaction, installation_id, after, created=created)
            return wait

        if wait := await transact(self.store, body, attempts=20):
            raise RateLimited(
                "As much was written on GitHub lately as it allows.",
                code="content_pace",
                hint="It goes on by itself.",
                retry_after=wait / 1000,
            )

    async def count(self, installation_id: int, *, writes: int, now: Instant) -> None:
        """For what is written in any case, by whoever holds a write token."""

        async def body(transaction: Transaction) -> None:
            before, created = await _read(transaction, installation_id)
            _write(transaction, installation_id, count(before, writes=writes, now=now), created=created)

        await transact(self.store, body, attempts=20)


async def _read(transaction: Transaction, installation_id: int) -> tuple[ContentPace, bool]:
    document = await transaction.get(_path(installation_id))
    return (decode(document, ContentPace), True) if document else (ContentPace(), False)


def _write(transaction: Transaction, installation_id: int, pace: ContentPace, *, created: bool) -> None:
    if created:
        transaction.replace(_path(installation_id), encode(pace))
    else:
        transaction.create(_path(installation_id), encode(pace))


def _path(installation_id: int) -> str:
    return f"content_paces/{installation_id}"
