"""Asks for a run to be told about. Losing a nudge delays the news, no more: the sweeper finds what is overdue."""

from __future__ import annotations

import logging

import msgspec

from dispatcher.services import Services
from infra.core.announcement import EDIT_INTERVAL
from infra.core.clock import Instant
from infra.core.errors import PullwrightError
from infra.core.ids import RunId
from infra.core.queue import Task
from infra.core.run import Run
from infra.wire import Announce

DEADLINE_SECONDS = 120

_log = logging.getLogger("dispatcher")


async def nudge(run: Run, services: Services) -> None:
    """The run is in a new state. Each state and phase of an attempt makes one task, however often it is said."""
    if run.origin.issue:
        await _create(
            f"announce-{run.id}-{run.launch}-{run.attempt}-{run.state}-{run.phase or 'none'}", run.id, services
        )


async def nudge_soon(run: Run, services: Services) -> None:
    """There is progress to show: once in each interval of edits, at its end."""
    following = services.clock() // EDIT_INTERVAL + 1
    await nudge_at(run.id, Instant(following * EDIT_INTERVAL), services)


async def nudge_at(run_id: RunId, moment: Instant, services: Services) -> None:
    """Somebody should look again then; as one task for each second."""
    await _create(f"announce-{run_id}-at-{moment // 1000}", run_id, services, moment)


async def _create(name: str, run_id: RunId, services: Services, moment: Instant | None = None) -> None:
    own_url = services.settings.own_url
    task = Task(
        name=name,
        url=f"{own_url}/internal/announce",
        body=msgspec.json.encode(Announce(run_id=run_id)),
        headers={"content-type": "application/json"},
        schedule_at=moment,
        deadline_seconds=DEADLINE_SECONDS,
        audience=own_url,
    )
    try:
        await services.queue.create(task)
    except PullwrightError as error:
        _log.warning("nobody was asked to tell", extra={"run_id": run_id, "reason": error.message})
