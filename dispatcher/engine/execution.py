"""Job executions of runs: started by the queue, named in the run, stopped when nobody wants them any more.

The run says ``provisioning`` before the job is asked for, so that a crash in between is seen by the sweeper. Asking twice
is harmless: the second execution finds the run held and ends.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import msgspec

from dispatcher.engine.prepare import Blocked
from dispatcher.engine.project_file import project_file
from dispatcher.services import Services
from infra import run_token
from infra.core import run as rules
from infra.core.clock import SECOND, later
from infra.core.errors import Forbidden, Invalid, PullwrightError, RateLimited
from infra.core.execution import EXECUTION_GRACE_SECONDS, GIB, ResourceClass, fitting, parse_classes
from infra.core.ids import RunId
from infra.core.queue import Task
from infra.core.run import Ended, Reason, Run, State, Superseded
from infra.platform_secrets import RUN_TOKEN_KEY
from infra.wire import RunLaunch

NO_ROOM_SECONDS = 30
STOP_GRACE = 20 * SECOND
"""What a runner gets to stop its agent and report, before its execution is cancelled: the SIGTERM then leaves ten more."""

_log = logging.getLogger("dispatcher")


async def take_slot(run: Run, services: Services) -> None:
    """Raises ``RateLimited`` while as many runs are under way as may be; the run goes on waiting."""
    now = services.clock()
    if await services.slots.take(run, now):
        return
    await services.runs.change(run.id, lambda current: rules.postponed(current, now))
    raise RateLimited(
        "As many runs are under way as may be.",
        code="no_capacity",
        hint="The run waits; MAX_CONCURRENT_RUNS and MAX_RUNS_PER_REPOSITORY set the limits.",
        retry_after=NO_ROOM_SECONDS,
    )


async def start(run_id: RunId, launch: int, services: Services) -> str:
    """The name of the run's execution, empty when this launch has nothing to start.

    Raises ``RateLimited`` without room and what Cloud Run raises; the queue then asks again.
    """
    run = await services.runs.get(run_id)
    if run.ended or run.launch != launch or run.state not in {State.QUEUED, State.PROVISIONING}:
        return ""
    if run.execution:
        return run.execution
    await take_slot(run, services)
    try:
        run = await services.runs.change(run_id, lambda current: rules.provision(current, launch, services.clock()))
    except (Ended, Superseded):  # cancelled or launched anew meanwhile
        return ""
    try:
        size = await _size(run, services)
        name = await _start(run, size, services)
    except (Forbidden, Invalid) as error:
        await _say_why(run, error, services)
        raise
    run = await services.runs.change(run_id, lambda current: _named(current, launch, name, size))
    if run.ended:
        await stop(run, services)
    return name


async def stop(run: Run, services: Services) -> None:
    """Ends the run's execution, if it has one; a failure is left to the job's own time limit."""
    if not run.execution:
        return
    try:
        await services.executions().cancel(run.execution)
    except PullwrightError as error:
        _log.warning("execution not cancelled", extra={"run_id": run.id, "reason": error.message})


async def stop_later(run: Run, services: Services) -> None:
    """Asked to stop, a runner ends its run by itself; the execution is cancelled in case it does not."""
    if not run.execution:
        return
    own_url = services.settings.own_url
    task = Task(
        name=f"stop-{run.id}-{run.launch}",
        url=f"{own_url}/internal/stop-execution",
        body=msgspec.json.encode(RunLaunch(run_id=run.id, launch=run.launch)),
        headers={"content-type": "application/json"},
        schedule_at=later(services.clock(), STOP_GRACE),
        audience=own_url,
    )
    try:
        await services.queue.create(task)
    except PullwrightError as error:
        _log.warning("stop not planned", extra={"run_id": run.id, "reason": error.message})


async def _start(run: Run, size: ResourceClass, services: Services) -> str:
    settings = services.settings
    token = run_token.mint(await services.platform.one(RUN_TOKEN_KEY), run)
    environment = {"RUN_ID": run.id, "RUN_TOKEN": token, "GATEWAY_URL": settings.own_url}
    seconds = run.limits.wall_seconds + EXECUTION_GRACE_SECONDS
    return await services.executions().start(size, environment, seconds)


async def _size(run: Run, services: Services) -> ResourceClass:
    """The smallest class with what the project asks for, or the largest there is. A file that is wrong ends the run at its
    claim, with what is wrong."""
    settings = services.settings
    (usual,), classes = parse_classes(settings.runner_class), parse_classes(settings.runner_classes)
    project = await project_file(run, services)
    if isinstance(project, Blocked) or not (project.container.milli_cpus or project.container.memory_bytes):
        return usual
    cpus = project.container.milli_cpus / 1000 or usual.cpu
    memory = project.container.memory_bytes / GIB or usual.memory_gib
    try:
        return fitting(classes, cpu=cpus, memory_gib=memory)
    except Invalid as error:
        _log.warning("%s %s", error.message, error.hint, extra={"run_id": run.id})
        return max(classes)


async def _say_why(run: Run, error: PullwrightError, services: Services) -> None:
    """A role that is missing can be granted while the run waits; until then the run itself says which."""
    reason = Reason(code=error.code, message=error.message, hint=error.hint)
    await services.runs.change(run.id, lambda current: current if current.ended else replace(current, reason=reason))


def _named(run: Run, launch: int, name: str, size: ResourceClass) -> Run:
    if run.launch != launch:
        return run
    return replace(run, execution=name, size=str(size), reason=run.reason if run.ended else None)
