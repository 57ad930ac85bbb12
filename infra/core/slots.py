"""How many runs may be under way at once: in all, and on one repository.

A slot is held by a run's id, so taking it again is not taking another. It is given back when the run ends; what was
forgotten is found by whoever needs room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from infra.core.clock import MINUTE, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """0 means: no limit."""

    total: int
    per_repository: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    repository: str
    taken_at: Instant


FRESH = MINUTE
"""A slot so young is never taken for forgotten: its run may be about to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """``held``: by run id."""

    held: Mapping[str, Slot] = field(default_factory=dict)

    def room(self, repository: str, caps: Caps) -> bool:
        if caps.total and len(self.held) >= caps.total:
            return False
        of_repository = sum(slot.repository == repository for slot in self.held.values())
        return not caps.per_repository or of_repository < caps.per_repository

    def taken(self, run_id: str, repository: str, now: Instant) -> Slots:
        return replace(self, held={**self.held, run_id: Slot(repository=repository, taken_at=now)})

    def without(self, run_ids: Collection[str]) -> Slots:
        return replace(self, held={key: slot for key, slot in self.held.items() if key not in run_ids})

    def older_than(self, now: Instant) -> tuple[str, ...]:
        """Runs whose slots may have been forgotten."""
        return tuple(key for key, slot in self.held.items() if now - slot.taken_at >= FRESH)
