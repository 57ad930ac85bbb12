"""API keys in the store: only hashes are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from infra.core.access import ApiKey, key_id, verify_api_key
from infra.core.clock import Instant
from infra.core.errors import NotFound
from infra.core.store import Create, Documents, Query, Transaction, transact
from infra.records.codec import decode, encode

COLLECTION = "api_keys"


@dataclass(frozen=True, slots=True)
class ApiKeys:
    store: Documents

    async def add(self, record: ApiKey) -> None:
        await self.store.commit(Create(f"{COLLECTION}/{record.id}", encode(record)))

    async def verify(self, text: str, now: Instant) -> ApiKey:
        """The record of a presented key. Raises ``Unauthenticated``."""
        found = None
        identifier = key_id(text)
        if identifier is not None:
            document = await self.store.get(f"{COLLECTION}/{identifier}")
            found = decode(document, ApiKey) if document else None
        return verify_api_key(text, found, now)

    async def any(self) -> bool:
        """Whether a key was ever made (the first start makes the first one)."""
        page = await self.store.query(COLLECTION, Query(limit=1))
        return bool(page.documents)

    async def revoke(self, identifier: str, now: Instant) -> None:
        """From now on the key is refused. Raises ``NotFound``."""

        async def body(transaction: Transaction) -> None:
            document = await transaction.get(f"{COLLECTION}/{identifier}")
            if document is None:
                raise NotFound(f"There is no API key {identifier}.", code="unknown_key")
            record = decode(document, ApiKey)
            transaction.replace(document.path, encode(replace(record, revoked_at=record.revoked_at or now)))

        await transact(self.store, body)
