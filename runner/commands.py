"""Allowed commands beside a working agent: each in a box of its own over the same tree, without network and without doors.

The list is in ``infra/core/commands.py``. There is no shell; output is redacted and told as it comes; time and output are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.core.commands import AllowedCommand, check_command
from infra.core.errors import Forbidden, PullwrightError
from infra.core.redaction import Redactor
from infra.core.timeline import EventType
from infra.wire import CommandResult, CommandState
from runner import command_start
from runner.agents.port import Sink
from runner.helper import helper_path, run_helper, scratch_in
from runner.output import Output
from runner.sandbox import Box, Sandbox

LATEST_DIFF = "latest.diff"

Keep = Callable[[str, bytes], Awaitable[None]]
"""Stores an artifact: name and content."""

_DIFF = ("git", "diff")
_RESULT_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLimits:
    """``characters`` of output are told and kept; ``seconds`` is what one command may take."""

    seconds: float = 600.0
    characters: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where commands of one agent run: ``beside`` its box (by id), over its ``tree``, with scratch folders below ``root``.

    ``environment`` is git's, hardened; ``path`` the agent's PATH; ``agent`` its type.
    """

    beside: str
    tree: Path
    root: Path
    agent: str
    path: str
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """One command at a time: they share a tree."""

    bench: Bench
    sandbox: Sandbox
    sink: Sink
    redactor: Redactor
    keep: Keep
    extra: Sequence[AllowedCommand] = ()
    limits: CommandLimits = field(default_factory=CommandLimits)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, identity: str, argv: Sequence[str], issued_by: str) -> CommandResult:
        """What became of it; a command that is not on the list, or cannot be started, is a result and no error."""
        try:
            command = check_command(argv, agent=self.bench.agent, extra=self.extra)
        except Forbidden as refused:
            return CommandResult(state=CommandState.REFUSED, text=f"{refused.message} {refused.hint}")
        async with self._turn:
            await self.sink(
                EventType.INFO, {"message": f"{command.text}, asked for by {issued_by}", "code": "command_started"}
            )
            result = await self._result(identity, command)
        await self.sink(
            EventType.MARKER,
            {
                "name": "command",
                "id": identity,
                "command": command.text,
                "state": result.state,
                "exitCode": result.exit_code,
            },
        )
        return result

    async def _result(self, identity: str, command: AllowedCommand) -> CommandResult:
        outputs = {kind: self._output(kind, identity) for kind in (EventType.STDOUT, EventType.STDERR)}
        try:
            code = await self._in_box(identity, command, outputs)
        except TimeoutError:
            text = f"{command.text} took longer than {self.limits.seconds:.0f} seconds and was stopped."
            await self.sink(EventType.ERROR, {"message": text, "code": "command_timed_out"})
            return CommandResult(state=CommandState.FAILED, text=text)
        except PullwrightError as error:
            return CommandResult(state=CommandState.FAILED, text=f"{error.message} {error.hint}")
        artifact = ""
        if command.argv == _DIFF and code == 0:
            await self.keep(LATEST_DIFF, outputs[EventType.STDOUT].kept.encode())
            artifact = LATEST_DIFF
        said = outputs[EventType.STDOUT].kept + outputs[EventType.STDERR].kept
        return CommandResult(
            state=CommandState.DONE, exit_code=code, text=said[-_RESULT_CHARACTERS:], artifact=artifact
        )

    def _output(self, kind: EventType, identity: str) -> Output:
        async def tell(text: str) -> None:
            await self.sink(kind, {"text": text, "command": identity})

        return Output(self.redactor, tell, limit=self.limits.characters)

    async def _in_box(self, identity: str, command: AllowedCommand, outputs: Mapping[EventType, Output]) -> int:
        """The exit code. Raises ``TimeoutError``, and ``Unavailable`` when the box cannot be made."""
        out, err = outputs[EventType.STDOUT], outputs[EventType.STDERR]
        async with scratch_in(self.bench.root) as scratch:
            box = self._box(scratch, identity)
            arguments = [self.bench.path, str(box.tree), str(box.home), *command.argv]
            code = await run_helper(
                self.sandbox,
                box,
                command_start,
                arguments,
                seconds=self.limits.seconds,
                out=out.feed,
                err=err.feed,
            )
        for output in (out, err):
            await output.end()
        return code

    def _box(self, scratch: Path, identity: str) -> Box:
        environment = {
            **self.bench.environment,
            "PATH": helper_path(self.bench.path),  # until the command's own is set
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "GIT_OPTIONAL_LOCKS": "0",
        }
        return Box(
            id=f"{self.bench.beside}-{identity}",
            tree=self.bench.tree,
            home=scratch / "home",
            tmp=scratch / "tmp",
            environment=environment,
            beside=self.bench.beside,
        )
