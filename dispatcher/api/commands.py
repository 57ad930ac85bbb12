"""``/api/runs/{id}/commands``, the people's side: ask something of a live run, and see what became of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.responses import Response

from dispatcher.api.views import command_view
from dispatcher.call import KIB, Call, reply
from dispatcher.engine import execution
from dispatcher.engine.follow_up import next_in_line
from dispatcher.engine.nudge import nudge
from dispatcher.services import Services
from infra.core.commands import check_command, commands_for, parse_extra
from infra.core.errors import Invalid
from infra.core.ids import RunId
from infra.core.run import Ended, Run, request_cancel
from infra.records.commands import CommandRecord, NewCommand
from infra.wire import CommandKind, MessageData, Strict

T = TypeVar("T")

MAX_BODY = 256 * KIB

STOPPED_UNHELD = "Cancelled before a runner worked on it."


class CommandBody(Strict, frozen=True, kw_only=True):
    """``data`` by kind: ``message`` MessageData · ``answer`` AnswerText · ``command`` CommandText · ``stop`` nothing."""

    kind: CommandKind
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class MessageText(MessageData, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=50_000)]


class AnswerText(Strict, frozen=True, kw_only=True):
    question_id: Annotated[str, Meta(min_length=1, max_length=200)]
    answers: Annotated[list[Annotated[str, Meta(max_length=10_000)]], Meta(max_length=50)]


class CommandText(Strict, frozen=True, kw_only=True):
    """One of the two: the words as a list, or as the text that a person types."""

    argv: list[str] | None = None
    command: str | None = None


async def list_commands(call: Call) -> Response:
    """What was asked of the run, in order, with results; and which commands are allowed."""
    services, run_id = call.services, call.path_run_id()
    await services.runs.get(run_id)
    after = call.number("after", 0, 0, 10**9)
    records = await services.commands.after(run_id, after)
    allowed = commands_for(extra=parse_extra(services.settings.extra_allowed_commands))
    return reply(
        {
            "commands": [command_view(record) for record in records],
            "allowed": [{"command": one.text, "description": one.description} for one in allowed],
        }
    )


async def send_command(call: Call) -> Response:
    """202 with the command as it waits for the runner, 200 when the same ``Idempotency-Key`` sent it before."""
    services, run_id = call.services, call.path_run_id()
    body = await call.decode(CommandBody, MAX_BODY)
    key = call.idempotency_key()
    data = _data(body, services)
    if body.kind is CommandKind.STOP:
        run, record = await stop(run_id, services, call.caller)
        return reply(command_view(record), 200 if run.ended else 202)
    run = await services.runs.get(run_id)
    if run.ended:
        raise Ended(f"Run {run.id} already ended as {run.state}.", hint="Continue it as a new run.")
    command = NewCommand(kind=body.kind, data=data, issued_by=call.caller, at=services.clock())
    record, new = await services.commands.add(run_id, command, key=key)
    services.command_bell.ring(run_id)
    return reply(command_view(record), 202 if new else 200)


async def stop(run_id: RunId, services: Services, caller: str) -> tuple[Run, CommandRecord]:
    """Asks for the end: the mark on the run is what counts, the command wakes its runner at once. Raises ``Ended``."""
    now = services.clock()
    run = await services.runs.change(run_id, lambda current: request_cancel(current, now))
    command = NewCommand(kind=CommandKind.STOP, data={}, issued_by=caller, at=now)
    if run.ended:
        command = replace(command, state="done", text=STOPPED_UNHELD)
    record, _ = await services.commands.add(run_id, command, key=f"stop of launch {run.launch} by {caller}")
    services.command_bell.ring(run_id)
    services.bell.ring(run_id)
    await nudge(run, services)
    if run.ended:
        await services.slots.give_back(run_id)
        await execution.stop(run, services)
        await next_in_line(run, services)
    else:
        await execution.stop_later(run, services)
    return run, record


def _data(body: CommandBody, services: Services) -> dict[str, Any]:
    """The command's data, checked. Raises ``Invalid`` for what does not fit its kind, ``Forbidden`` for a command not listed."""
    match body.kind:
        case CommandKind.MESSAGE:
            return msgspec.to_builtins(_fit(body.data, MessageText))  # type: ignore[no-any-return]
        case CommandKind.ANSWER:
            return msgspec.to_builtins(_fit(body.data, AnswerText))  # type: ignore[no-any-return]
        case CommandKind.COMMAND:
            return {"argv": _argv(_fit(body.data, CommandText), services)}
        case CommandKind.STOP:
            if body.data:
                raise Invalid("stop takes no data.", code="invalid_body", hint="Leave data out.")
            return {}


def _argv(wanted: CommandText, services: Services) -> list[str]:
    if (wanted.argv is None) == (wanted.command is None):
        raise Invalid("A command takes either argv or command.", code="invalid_body", hint="docs/api.md shows both.")
    argv = wanted.argv if wanted.argv is not None else (wanted.command or "").split(" ")
    return list(check_command(argv, extra=parse_extra(services.settings.extra_allowed_commands)).argv)


def _fit(data: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"data does not fit: {str(error).replace('`$.', '`')}.",
            code="invalid_body",
            hint="docs/api.md shows the fields.",
        ) from error
