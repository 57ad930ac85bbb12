"""Nothing stays stuck: every non-terminal run has a time at which somebody looks at it again, and this is who."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from dispatcher.engine import execution
from dispatcher.engine.follow_up import next_in_line, sweep_lines
from dispatcher.engine.launch import enqueue
from dispatcher.engine.nudge import nudge, nudge_at
from dispatcher.services import Services
from infra.core.announcement import LOOK_AGAIN
from infra.core.clock import Instant, later
from infra.core.run import Run, State, postponed, swept

_log = logging.getLogger("dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How many runs were looked at, launched again, and given up or cancelled; how many began for those who waited; and
    stored leftovers removed."""

    due: int
    relaunched: int
    ended: int
    followed_up: int
    purged: int


async def sweep(services: Services) -> Sweep:
    """One pass. Safe to run twice at once: each change is decided on the newest state under a revision check."""
    now = services.clock()
    due = await services.runs.due(now)
    full = any(run.state is State.QUEUED for run in due) and await services.slots.full(now)
    relaunched = ended = 0
    for run in due:
        after = await services.runs.change(run.id, lambda current: _next(current, now, full=full))
        if after.execution != run.execution or after.ended:
            await execution.stop(run, services)
        if after.ended:
            ended += 1
            await services.slots.give_back(run.id)
            services.bell.ring(run.id)
            await nudge(after, services)
            await next_in_line(after, services)
        elif after.state is State.QUEUED and after.launch != run.launch:
            relaunched += 1
            await enqueue(after, services)
        _log_swept(run, after)
    await _remind(services)
    return Sweep(
        due=len(due),
        relaunched=relaunched,
        ended=ended,
        followed_up=await sweep_lines(services),
        purged=await services.store.purge(now),
    )


async def _remind(services: Services) -> None:
    """What should have been told by now is told by whoever takes the task; later again, should that be lost, too."""
    now = services.clock()
    for record in await services.telling.announcements.due(now):
        await services.telling.announcements.change(
            record.run_id, lambda one: replace(one, due_at=later(now, LOOK_AGAIN)) if one.due_at else one
        )
        await nudge_at(record.run_id, now, services)


def _next(run: Run, now: Instant, *, full: bool) -> Run:
    """A queued run is not launched anew while there is no room: its task is still in line, and a new one would be last."""
    if full and run.state is State.QUEUED and run.wake_at is not None and run.wake_at <= now:
        return postponed(run, now)
    return swept(run, now) or run


def _log_swept(before: Run, after: Run) -> None:
    if after != before:
        _log.warning(
            "swept",
            extra={"run_id": before.id, "from_state": before.state, "to_state": after.state, "launch": after.launch},
        )
