"""Nonces of signed requests: each may be used once within the signature's time window."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.access import SIGNATURE_WINDOW
from infra.core.clock import Instant, later
from infra.core.errors import AlreadyExists, Unauthenticated
from infra.core.ids import RunId
from infra.core.store import Create, Documents


@dataclass(frozen=True, slots=True)
class Nonces:
    store: Documents

    async def use(self, run_id: RunId, nonce: str, now: Instant) -> None:
        """Raises ``Unauthenticated`` (code ``replayed_request``) the second time."""
        try:
            await self.store.commit(Create(f"nonces/{run_id}:{nonce}", {}, later(now, 2 * SIGNATURE_WINDOW)))
        except AlreadyExists:
            raise Unauthenticated(
                "This signed request was already used.", code="replayed_request", hint="Sign each request anew."
            ) from None
