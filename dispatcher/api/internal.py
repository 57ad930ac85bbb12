"""What only the scheduler and the queue call."""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.call import Call, reply
from dispatcher.engine import announce as announcer
from dispatcher.engine import execution
from dispatcher.engine import reconcile as reconciler
from dispatcher.engine import sweep as sweeper
from infra.core.ids import parse_run_id
from infra.wire import Announce, RunLaunch


async def sweep(call: Call) -> Response:
    """``POST /internal/sweep``: one pass over everything that is overdue."""
    return reply(await sweeper.sweep(call.services))


async def reconcile_deliveries(call: Call) -> Response:
    """``POST /internal/reconcile-deliveries``: asks GitHub again for what it could not deliver."""
    return reply(await reconciler.reconcile(call.services))


async def announce(call: Call) -> Response:
    """``POST /internal/announce``: tell people about one run, as far as that can be done now."""
    run_id = parse_run_id((await call.decode(Announce)).run_id)
    await announcer.announce(run_id, call.services)
    return reply({"run_id": run_id})


async def launch_job(call: Call) -> Response:
    """``POST /internal/launch-job``: starts the job execution of a run's launch; its name, empty when there was nothing
    to start."""
    wanted = await call.decode(RunLaunch)
    name = await execution.start(parse_run_id(wanted.run_id), wanted.launch, call.services)
    return reply({"execution": name})


async def stop_execution(call: Call) -> Response:
    """``POST /internal/stop-execution``: ends the execution of a launch whose run was cancelled."""
    wanted = await call.decode(RunLaunch)
    run = await call.services.runs.get(parse_run_id(wanted.run_id))
    if run.launch == wanted.launch:
        await execution.stop(run, call.services)
    return reply({"state": run.state})
