"""What people ask of a run, on its way to the runner: a long poll that answers at once, and the results coming back."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import Response

from dispatcher.api.commands import list_commands
from dispatcher.bell import wait
from dispatcher.call import MIB, Call, reply
from dispatcher.gateway.auth import check_launch
from dispatcher.gateway.lease import run_of
from infra.core.run import Ended
from infra.records.commands import CommandRecord
from infra.wire import Command, CommandKind, CommandResult, Commands

LONGEST_WAIT_SECONDS = 50
LOOK_AGAIN_SECONDS = 1.0
"""How late a command is that another process of the control plane took; one of this process comes at once."""

_MAX_TEXT = 100_000


async def commands(call: Call) -> Response:
    """``?after=``: for a key what was asked, with results; for the run's runner (``?wait=`` seconds) what is new to do."""
    if call.key is not None:
        return await list_commands(call)
    services, run_id = call.services, run_of(call)
    after = call.number("after", 0, 0, 10**9)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + call.number("wait", 0, 0, LONGEST_WAIT_SECONDS)
    with services.command_bell.listen(run_id) as rung:
        while True:
            records = await services.commands.after(run_id, after)
            found = [record for record in records if not record.finished]
            if records and not found:  # an earlier attempt did these
                after = records[-1].sequence
                continue
            run = await services.runs.get(run_id)
            check_launch(run, call.launch)  # another runner may have taken over while this one waited
            if run.ended:  # its runner has hung up, which nobody tells a waiting handler
                raise Ended(f"Run {run_id} already ended as {run.state}.")
            left = deadline - loop.time()
            if found or left <= 0:
                break
            await wait(rung, min(left, LOOK_AGAIN_SECONDS))
    return reply(Commands(commands=[_wired(record) for record in found]))


async def command_result(call: Call) -> Response:
    """``POST /api/runs/{id}/commands/{command_id}/result``: what became of it; told twice it is written once."""
    services, run_id = call.services, run_of(call)
    result = await call.decode(CommandResult, MIB)
    known = {**msgspec.to_builtins(result), "text": result.text[:_MAX_TEXT]}
    record = await services.commands.finish(run_id, call.request.path_params["command_id"], known, services.clock())
    services.bell.ring(run_id)
    return reply({"id": record.id, "state": record.state})


def _wired(record: CommandRecord) -> Command:
    return Command(
        sequence=record.sequence,
        id=record.id,
        kind=CommandKind(record.kind),
        data=dict(record.data),
        issued_by=record.issued_by,
        at=record.at,
    )
