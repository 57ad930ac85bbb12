"""What only the scheduler and the queue call."""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.call import Call, reply
from dispatcher.engine import announce as announcer
from dispatcher.engine import sweep as sweeper
from infra.core.ids import parse_run_id
from infra.wire import Announce


async def sweep(call: Call) -> Response:
    """``POST /internal/sweep``: one pass over everything that is overdue."""
    return reply(await sweeper.sweep(call.services))


async def announce(call: Call) -> Response:
    """``POST /internal/announce``: tell people about one run, as far as that can be done now."""
    run_id = parse_run_id((await call.decode(Announce)).run_id)
    await announcer.announce(run_id, call.services)
    return reply({"run_id": run_id})
