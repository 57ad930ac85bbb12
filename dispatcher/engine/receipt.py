"""A delivery's entry in the log, which is also its lock: whoever writes it first has dealt with the delivery."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.store import Write
from infra.records.deliveries import ACCEPTED, WAITING, Deliveries, Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What is known of a delivery before anything is decided."""

    source: str
    id: str
    event: str
    body_sha256: str
    received_at: Instant
    action: str = ""
    repository: str = ""
    subject: str = ""
    sender: str = ""

    @property
    def keys(self) -> tuple[str, str]:
        """The id comes with every copy, the body stays the same under any id."""
        return f"{self.source}:{self.id}", f"{self.source}-body:{self.body_sha256}"

    def locks(self, outcome: str, *, reason: str = "", run_id: str = "") -> tuple[Write, ...]:
        record = Delivery(
            source=self.source,
            id=self.id,
            event=self.event,
            outcome=outcome,
            reason=reason,
            run_id=run_id,
            received_at=self.received_at,
            action=self.action,
            repository=self.repository,
            subject=self.subject,
            sender=self.sender,
        )
        id_key, body_key = self.keys
        # what started nothing needs no lock on its body: a replay would start nothing again
        return Deliveries.creations(
            record, id_key=id_key, body_key=body_key if outcome in {ACCEPTED, WAITING} else None
        )
