"""What only the scheduler and the queue call."""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.call import Call, reply
from dispatcher.engine import sweep as sweeper


async def sweep(call: Call) -> Response:
    """``POST /internal/sweep``: one pass over everything that is overdue."""
    return reply(await sweeper.sweep(call.services))
