"""The desk of a run at work: what people ask of it is taken in order, done, and answered.

Messages go to the agent, answers to whoever asked, allowed commands to a box of their own, and a stop to the run itself. The
desk is open from claim to settlement, so that a run can be stopped in any phase; commands need an agent at work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from infra.core.errors import NotFound, PullwrightError
from infra.core.run import Ended, Fenced
from infra.core.timeline import EventType
from infra.wire import AnswerData, Command, CommandData, CommandKind, CommandResult, CommandState, MessageData
from runner.agents.port import Inbox, Mail, Sink
from runner.commands import Commands
from runner.gateway import Gateway
from runner.questions import Questions
from runner.shielded import to_the_end

WAIT_SECONDS = 20
_PAUSE_SECONDS = 2.0
_MOST_AT_ONCE = 20
_LAST_REPORTS_SECONDS = 2.0

_log = logging.getLogger("runner")

D = TypeVar("D", bound=msgspec.Struct)


@dataclass(slots=True, kw_only=True)
class Desk:
    """``stop`` is told that somebody wants the run to end, and answers whether that is still possible.

    ``inbox`` takes messages as soon as the desk is open: an agent that starts later finds them.
    """

    gateway: Gateway
    sink: Sink
    questions: Questions
    stop: Callable[[], bool] = lambda: False
    inbox: Inbox = field(default_factory=Inbox)
    _commands: Commands | None = None
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _reports: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def with_agent(self, commands: Commands) -> AsyncIterator[None]:
        """Commands run as long as this is open; afterwards none is left at work on the tree."""
        self._commands = commands
        try:
            yield
        finally:
            self._commands = None
            for task in self._running:
                task.cancel()
            await to_the_end(_all(self._running))

    async def serve(self) -> None:
        """Until it is cancelled, or the run is no longer ours."""
        try:
            await self._follow()
        finally:
            self.inbox.close()
            await asyncio.wait({asyncio.ensure_future(_all(self._reports))}, timeout=_LAST_REPORTS_SECONDS)

    async def _follow(self) -> None:
        after = 0
        while True:
            try:
                came = await self.gateway.commands(after, WAIT_SECONDS)
            except (Ended, Fenced, NotFound) as over:
                _log.info("desk closed: %s", over.message, extra={"run_id": self.gateway.run_id})
                return
            except PullwrightError as error:
                _log.warning("no commands: %s", error.message, extra={"run_id": self.gateway.run_id})
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            for command in came.commands:
                after = max(after, command.sequence)
                await self._take(command)

    async def _take(self, command: Command) -> None:
        try:
            match command.kind:
                case CommandKind.MESSAGE:
                    await self._message(command, _data(command, MessageData))
                case CommandKind.ANSWER:
                    await self._answer(command, _data(command, AnswerData))
                case CommandKind.COMMAND:
                    await self._start(command, _data(command, CommandData))
                case CommandKind.STOP:
                    await self._stop(command)
        except msgspec.ValidationError as error:
            await self._refuse(command, f"It does not fit: {error}.")

    async def _message(self, command: Command, message: MessageData) -> None:
        await self.sink(EventType.MESSAGE, {"text": message.text, "from": command.issued_by})
        self.inbox.post(
            Mail(
                text=message.text,
                interrupt=message.mode == "interrupt",
                settled=partial(self._message_settled, command),
            )
        )

    def _message_settled(self, command: Command, delivered: bool) -> None:
        if delivered:
            result = CommandResult(state=CommandState.DONE, text="Given to the agent.")
        else:
            result = CommandResult(state=CommandState.REFUSED, text="The agent had ended before it could be told.")
        _keep(self._reports, self._report(command, result))

    async def _answer(self, command: Command, answer: AnswerData) -> None:
        problem = self.questions.answer(answer.question_id, answer.answers)
        if problem:
            await self._refuse(command, problem)
            return
        told = {"message": f"{command.issued_by} answered: {', '.join(answer.answers)}", "code": "question_answered"}
        await self.sink(EventType.INFO, {**told, "id": answer.question_id})
        await self._report(command, CommandResult(state=CommandState.DONE, text="Given to the agent."))

    async def _start(self, command: Command, wanted: CommandData) -> None:
        if self._commands is None:
            await self._refuse(command, "No agent is at work now; commands run beside one.")
        elif len(self._running) >= _MOST_AT_ONCE:
            await self._refuse(command, "Too many commands wait; try again when some are done.")
        else:
            _keep(self._running, self._run(command, wanted, self._commands))

    async def _run(self, command: Command, wanted: CommandData, commands: Commands) -> None:
        try:
            result = await commands.run(command.id, wanted.argv, command.issued_by)
        except asyncio.CancelledError:
            result = CommandResult(state=CommandState.FAILED, text="The agent ended first.")
        _keep(self._reports, self._report(command, result))

    async def _stop(self, command: Command) -> None:
        """Answered before it is done: afterwards the run is over and takes no answers."""
        if not self.stop():
            await self._refuse(command, "Too late: the work is being published.")
            return
        await self.sink(EventType.INFO, {"message": f"{command.issued_by} stops the run.", "code": "stop_requested"})
        await self._report(command, CommandResult(state=CommandState.DONE, text="The run is being stopped."))

    async def _refuse(self, command: Command, why: str) -> None:
        await self._report(command, CommandResult(state=CommandState.REFUSED, text=why))

    async def _report(self, command: Command, result: CommandResult) -> None:
        try:
            await self.gateway.command_result(command.id, result)
        except PullwrightError as error:
            _log.warning("result of a command lost: %s", error.message, extra={"run_id": self.gateway.run_id})


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[object, object, None]) -> None:
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _data(command: Command, kind: type[D]) -> D:
    return msgspec.convert(command.data, kind)
