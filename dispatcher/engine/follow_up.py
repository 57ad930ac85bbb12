"""When a run ends, those who waited behind it are next, all together, in the order in which they came.

Nobody who waits depends on this being called: the seat of a subject with waiting asks has a time at which the sweeper looks.
"""

from __future__ import annotations

import logging

from dispatcher.engine.launch import launch, new_run
from dispatcher.services import Services
from infra.core.errors import Conflict, PullwrightError
from infra.core.requested import MOST_TOGETHER, base_of, requested, together
from infra.core.run import Run
from infra.records.subjects import Seat

_TRIES = 8
_log = logging.getLogger("dispatcher")


async def next_in_line(ended: Run, services: Services) -> None:
    """To be called when a run has ended. Trouble is left to the sweeper: whoever reports an end must not be told of it."""
    if not ended.asks:
        return
    subject = ended.origin.issue or ended.ref
    try:
        seat = await services.subjects.seat(ended.full_name, subject)
        if seat.holder is not None and seat.holder.run_id == ended.id:
            await follow_up(seat.path, services)
    except PullwrightError as error:
        _log.warning("who waits is left to the sweeper", extra={"run_id": ended.id, "reason": error.message})


async def follow_up(path: str, services: Services) -> Run | None:
    """Starts the run of those who wait at the subject ``path``, unless a run still works there. Safe to do twice at once.

    Raises ``Conflict`` after many lost races.
    """
    for _ in range(_TRIES):
        seat = await services.subjects.at(path)
        try:
            return await _serve(seat, services)
        except Conflict:
            continue
    raise Conflict(f"The seat at {path} changed each time.", code="contention")


async def sweep_lines(services: Services) -> int:
    """Looks at the subjects where somebody has waited for a while; returns how many runs began."""
    now, started = services.clock(), 0
    for seat in await services.subjects.due(now):
        try:
            if await _works(seat, services):
                await services.store.commit(seat.looked_at(now))
            else:
                started += await follow_up(seat.path, services) is not None
        except Conflict:
            continue  # it moves, so somebody else looks after it
    return started


async def _works(seat: Seat, services: Services) -> bool:
    if seat.holder is None or not seat.holder.run_id:
        return False
    return not (await services.runs.get(seat.holder.run_id)).ended


async def _serve(seat: Seat, services: Services) -> Run | None:
    if seat.holder is None or await _works(seat, services):
        return None
    queued = await services.subjects.queued(seat, MOST_TOGETHER)
    if not queued:
        if seat.holder.run_id:
            await services.store.commit(seat.leaving())
        return None
    served = queued[: together([each.wish for each in queued])]
    wishes = [each.wish for each in served]
    request = requested(wishes, services.policy.limits)
    run = new_run(request, services, services.clock(), base_sha=base_of(request, wishes))
    await launch(run, services, *seat.taking(run, served=served))
    return run
