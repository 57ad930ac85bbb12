"""A wish finds its run: a new one when nobody works on its subject, else a place in the line behind the one that does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dispatcher.engine.follow_up import follow_up
from dispatcher.engine.launch import launch, new_run
from dispatcher.engine.receipt import Receipt
from dispatcher.services import Services
from infra.core.ask import Wish
from infra.core.errors import Conflict, Unavailable
from infra.core.requested import base_of, cooling, requested, says_the_same
from infra.core.run import Run
from infra.core.triggers import Trigger
from infra.records.deliveries import ACCEPTED, IGNORED, REFUSED, WAITING, Delivery
from infra.records.subjects import MOST_WAITING, Seat

_TRIES = 40
_LONGEST_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What became of it. ``position``: 1 for the first of those that wait. ``repeated``: a copy had come before."""

    outcome: str
    reason: str = ""
    run_id: str = ""
    position: int = 0
    repeated: bool = False


async def admit(wish: Wish, trigger: Trigger, receipt: Receipt, services: Services) -> Admission:
    """Everything about one delivery is one commit; whoever loses a race looks again why.

    Raises ``Unavailable`` when that goes on for too long; nothing is stored then, and the delivery may come again.
    """
    for attempt in range(_TRIES):
        seat = await services.subjects.seat(f"{wish.owner}/{wish.repo}", wish.subject)
        try:
            return await _place(wish, trigger, receipt, seat, services)
        except Conflict:
            if first := await services.deliveries.find(*receipt.keys):
                return repeated(first)
        await asyncio.sleep(min(0.002 * 2**attempt, _LONGEST_PAUSE_SECONDS) * services.entropy(1)[0] / 255)
    raise Unavailable(
        "Too many deliveries for this subject at once.",
        code="contention",
        hint="It will be tried again; it can also be redelivered from the App's settings.",
    )


def repeated(first: Delivery) -> Admission:
    """The answer that the first copy got, so that a sender that missed it loses nothing."""
    return Admission(outcome=first.outcome, reason=first.reason, run_id=first.run_id, repeated=True)


async def turn_away(outcome: str, reason: str, receipt: Receipt, services: Services) -> Admission:
    """Nothing starts; the reason is kept. Of a copy the first one's answer."""
    try:
        await services.store.commit(*receipt.locks(outcome, reason=reason))
    except Conflict:
        if first := await services.deliveries.find(*receipt.keys):
            return repeated(first)
        raise
    return Admission(outcome=outcome, reason=reason)


async def _place(wish: Wish, trigger: Trigger, receipt: Receipt, seat: Seat, services: Services) -> Admission:
    active = await _active(seat, services)
    if active is not None or (seat.holder and seat.holder.waiting):
        return await _behind(active, wish, receipt, seat, services)
    if reason := cooling(trigger, seat.holder.started_at if seat.holder else None, receipt.received_at):
        return await turn_away(IGNORED, reason, receipt, services)
    request = requested((wish,), services.policy.limits)
    run = new_run(request, services, receipt.received_at, base_sha=base_of(request, (wish,)))
    await launch(run, services, *receipt.locks(ACCEPTED, run_id=run.id), *seat.taking(run))
    return Admission(outcome=ACCEPTED, run_id=run.id)


async def _active(seat: Seat, services: Services) -> Run | None:
    if seat.holder is None or not seat.holder.run_id:
        return None
    run = await services.runs.get(seat.holder.run_id)
    return None if run.ended else run


async def _behind(active: Run | None, wish: Wish, receipt: Receipt, seat: Seat, services: Services) -> Admission:
    """In line behind ``active`` – or, where that has just ended and others still wait, with them."""
    assert seat.holder is not None
    if active and says_the_same(active, wish):
        return await turn_away(IGNORED, f"Run {active.id} already works on exactly this.", receipt, services)
    if seat.holder.waiting >= MOST_WAITING:
        reason = f"{MOST_WAITING} messages wait here already; say it again when the present run has ended."
        return await turn_away(REFUSED, reason, receipt, services)
    position, run_id = seat.holder.waiting + 1, seat.holder.run_id
    reason = f"Waits as number {position} behind run {run_id}." if active else "Waits for a run that is about to begin."
    await services.store.commit(
        *receipt.locks(WAITING, reason=reason, run_id=run_id), *seat.queuing(wish, receipt.received_at)
    )
    if active is None:
        await follow_up(seat.path, services)
    return Admission(outcome=WAITING, reason=reason, run_id=run_id, position=position)
