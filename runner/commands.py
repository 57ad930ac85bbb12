"""Allowed commands beside a working agent: each in a box of its own over the same tree, without network and without doors.

The list is in ``infra/core/commands.py``. There is no shell; output is redacted and told as it comes; time and output are bounded.
"""

from __future__ import annotations

import asyncio
import tempfile
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
from runner.box_layout import own_python
from runner.output import Output
from runner.removal import remove
from runner.sandbox import Box, Sandbox
from runner.shielded import to_the_end

LATEST_DIFF = "latest.diff"

Keep = Callable[[str, bytes], Awaitable[None]]
"""Stores an artifact: name and content."""

_ENV = Path("/usr/bin/env")
_DIFF = ("git", "diff")
_PIECE = 64 * 1024
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
        scratch = await asyncio.to_thread(_scratch, self.bench.root)
        box = self._box(scratch, identity)
        try:
            launcher = await self.sandbox.launcher(box, _ENV)
            process = await asyncio.create_subprocess_exec(
                launcher,
                *("python3", "-I", "-S", "-c", await asyncio.to_thread(_start_program)),
                *(self.bench.path, str(box.tree), str(box.home), *command.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=box.tree,
                start_new_session=True,
            )
            async with asyncio.timeout(self.limits.seconds):
                return await _followed(process, outputs)
        finally:
            await to_the_end(self.sandbox.destroy(box))
            await asyncio.to_thread(remove, scratch, parking=self.bench.root)

    def _box(self, scratch: Path, identity: str) -> Box:
        environment = {
            **self.bench.environment,
            "PATH": f"{own_python()[0].parent}:{self.bench.path}",  # until the command's own is set
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


def _scratch(root: Path) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="command-", dir=root))
    scratch.chmod(0o711)
    for name in ("home", "tmp"):
        (scratch / name).mkdir(mode=0o700)
    return scratch


def _start_program() -> str:
    return Path(command_start.__file__).read_text()


async def _followed(process: asyncio.subprocess.Process, outputs: Mapping[EventType, Output]) -> int:
    """Reads both streams to their ends. When this breaks off, the process' own end is the box's matter."""
    assert process.stdout is not None
    assert process.stderr is not None
    reading = [
        asyncio.ensure_future(_read(process.stdout, outputs[EventType.STDOUT])),
        asyncio.ensure_future(_read(process.stderr, outputs[EventType.STDERR])),
    ]
    try:
        await asyncio.gather(*reading)
        return await process.wait()
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _read(stream: asyncio.StreamReader, output: Output) -> None:
    while piece := await stream.read(_PIECE):
        await output.feed(piece)
    await output.end()
