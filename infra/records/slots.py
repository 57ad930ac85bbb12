"""The slots of running runs in the store: one document, changed when a run begins and when it ends, never by heartbeats.

It is bounded by the caps themselves, and written as often as runs start: far below what one document can take
(https://firebase.google.com/docs/firestore/best-practices#updates_to_a_single_document).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.errors import NotFound
from infra.core.ids import RunId
from infra.core.run import Run, State
from infra.core.slots import Caps, Slots
from infra.core.store import Documents, Transaction, transact
from infra.records.codec import decode, encode
from infra.records.runs import Runs

PATH = "slots/runs"

_UNDER_WAY = frozenset({State.PROVISIONING, State.RUNNING})
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class RunSlots:
    """With both caps 0 nothing is stored."""

    store: Documents
    runs: Runs
    caps: Caps

    async def take(self, run: Run, now: Instant) -> bool:
        """Whether the run may be under way. True again for a run that has a slot already."""
        if not self._capped:
            return True
        if await self._try(run, now):
            return True
        return await self._forget_ended(now) and await self._try(run, now)

    async def give_back(self, run_id: RunId) -> None:
        """Fine for a run that has none."""
        if self._capped:
            await self._change(lambda slots: slots.without({run_id}))

    async def full(self, now: Instant) -> bool:
        """Whether there is no room for any run at all."""
        if not self.caps.total or len((await self._read()).held) < self.caps.total:
            return False
        return not await self._forget_ended(now)

    @property
    def _capped(self) -> bool:
        return bool(self.caps.total or self.caps.per_repository)

    async def _try(self, run: Run, now: Instant) -> bool:
        def rule(slots: Slots) -> Slots:
            return slots.taken(run.id, run.full_name, now) if slots.room(run.full_name, self.caps) else slots

        slots = await self._change(lambda slots: slots if run.id in slots.held else rule(slots))
        return run.id in slots.held

    async def _forget_ended(self, now: Instant) -> bool:
        """Looks at each holder; whether there is more room now."""
        gone = [run_id for run_id in (await self._read()).older_than(now) if not await self._is_under_way(run_id)]
        if gone:
            await self._change(lambda slots: slots.without(gone))
        return bool(gone)

    async def _is_under_way(self, run_id: str) -> bool:
        try:
            return (await self.runs.get(RunId(run_id))).state in _UNDER_WAY
        except NotFound:
            return False

    async def _read(self) -> Slots:
        document = await self.store.get(PATH)
        return decode(document, Slots) if document else Slots()

    async def _change(self, rule: Callable[[Slots], Slots]) -> Slots:
        async def body(transaction: Transaction) -> Slots:
            document = await transaction.get(PATH)
            before = decode(document, Slots) if document else Slots()
            after = rule(before)
            if document is None:
                transaction.create(PATH, encode(after))
            elif after != before:
                transaction.replace(PATH, encode(after))
            return after

        return await transact(self.store, body, attempts=_ATTEMPTS)
