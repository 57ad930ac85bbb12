"""An agent that is a command: what it prints are its words, line by line, and its exit code is its verdict.

The task is in the variable ``PROMPT``. Messages of people come as lines on standard input, which stays open; an interrupting one
sends SIGINT first. There is no model behind it, so it costs nothing but time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.core.clock import Clock
from infra.core.commands import LINES
from infra.core.errors import Invalid
from infra.core.terminal import CleanStream
from infra.core.timeline import EventType
from runner.agents.port import Failure, Job, Result, Sink
from runner.helper import ENV, helper_path
from runner.sandbox import Box, Sandbox, wall_words
from runner.shielded import to_the_end

LONGEST_LINE = 16_000
_BUFFER = 1 << 20
_WORDS_KEPT = 4_000


class LineAgent:
    """``command``: the words of it, which no shell reads. ``grace_seconds``: between SIGINT and the end of its processes."""

    type = LINES

    def __init__(
        self, *, sandbox: Sandbox, clock: Clock, path: str, command: Sequence[str], grace_seconds: float = 10.0
    ) -> None:
        """Raises ``Invalid`` without a command."""
        if not command or "=" in command[0]:
            raise Invalid(
                "There is no command for the agent to be.",
                code="missing_command",
                hint="Say: rev-runner start --cmd 'make check', or set AGENT_COMMAND.",
            )
        self._sandbox = sandbox
        self._clock = clock
        self._path = path
        self._command = tuple(command)
        self._grace_seconds = grace_seconds

    def command(self, job: Job) -> str:  # noqa: ARG002 - the same for every job
        return " ".join(self._command)

    async def run(self, job: Job, sink: Sink) -> Result:
        box = Box(
            id=job.id,
            tree=job.tree,
            home=job.home,
            tmp=job.tmp,
            environment=self._environment(job),
            uid=job.uid,
            limits=job.box_limits,
            doors=job.doors,
            own_tree=job.own_tree,
        )
        try:
            launcher = await self._sandbox.launcher(box, ENV)
            await sink(EventType.INFO, {"message": wall_words(self._sandbox, box), "code": "sandbox"})
            process = await asyncio.create_subprocess_exec(
                launcher,
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=job.tree,
                limit=_BUFFER,
                start_new_session=True,
            )
            course = _Course(
                job=job,
                sink=sink,
                process=process,
                name=self.command(job),
                clock=self._clock,
                interrupt=lambda: self._sandbox.interrupt(box),
                grace_seconds=self._grace_seconds,
            )
            return await course.follow()
        finally:
            job.inbox.close()
            await to_the_end(self._sandbox.destroy(box))

    def _environment(self, job: Job) -> dict[str, str]:
        return {
            **job.environment,
            "PATH": helper_path(self._path),
            "HOME": str(job.home),
            "TMPDIR": str(job.tmp),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PROMPT": job.prompt,
        }


@dataclass(slots=True, kw_only=True)
class _Course:
    """One process from its first line to its exit code."""

    job: Job
    sink: Sink
    process: asyncio.subprocess.Process
    name: str
    clock: Clock
    interrupt: Callable[[], Awaitable[None]]
    grace_seconds: float
    _heard_at: int = 0
    _last: str = ""
    _speaking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def follow(self) -> Result:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._heard_at = self.clock()
        reading: asyncio.Future[Any] = asyncio.gather(
            self._read(self.process.stdout, EventType.STDOUT), self._read(self.process.stderr, EventType.STDERR)
        )
        silence = asyncio.ensure_future(self._silence())
        mail = asyncio.ensure_future(self._deliver_mail())
        try:
            waited: set[asyncio.Future[Any]] = {reading, silence}
            await asyncio.wait(waited, timeout=self.job.limits.wall_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return self._out_of_time(idle=silence.done())
            reading.result()
            return self._ended(await self.process.wait())
        except asyncio.CancelledError:
            await to_the_end(self._stop(reading))
            raise
        finally:
            for task in (reading, silence, mail):
                task.cancel()
            await asyncio.gather(reading, silence, mail, return_exceptions=True)

    async def _stop(self, reading: asyncio.Future[Any]) -> None:
        """SIGINT, then time to go; whatever is left ends with the box."""
        await self.interrupt()
        hurried: asyncio.Future[Any] = asyncio.ensure_future(self.job.hurry.wait())
        waited: set[asyncio.Future[Any]] = {asyncio.ensure_future(self.process.wait()), hurried}
        await asyncio.wait(waited, timeout=self.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waited:
            task.cancel()
        reading.cancel()

    async def _read(self, stream: asyncio.StreamReader, kind: EventType) -> None:
        clean = CleanStream()
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
            except asyncio.LimitOverrunError as over:  # a line without end is told in pieces
                line = await stream.readexactly(over.consumed)
            if not line:
                return
            self._heard_at = self.clock()
            await self._tell(kind, clean.feed(line.decode("utf-8", "replace")))

    async def _tell(self, kind: EventType, text: str) -> None:
        if text.strip():
            self._last = text.strip()[-_WORDS_KEPT:]
        async with self._speaking:
            for start in range(0, len(text), LONGEST_LINE):
                await self.sink(kind, {"text": text[start : start + LONGEST_LINE]})

    async def _deliver_mail(self) -> None:
        assert self.process.stdin is not None
        news = asyncio.Event()
        self.job.inbox.on_put(news.set)
        news.set()
        while True:
            await news.wait()
            news.clear()
            for mail in self.job.inbox.take():
                if mail.interrupt:
                    await self.interrupt()
                try:
                    self.process.stdin.write(mail.text.replace("\n", " ").encode() + b"\n")
                    await self.process.stdin.drain()
                except (BrokenPipeError, ConnectionResetError):
                    mail.settled(False)
                else:
                    mail.settled(True)

    async def _silence(self) -> None:
        allowed = self.job.limits.idle_seconds * 1000
        while True:
            left = self._heard_at + allowed - self.clock()
            if left <= 0:
                return
            await asyncio.sleep(left / 1000)

    def _ended(self, code: int) -> Result:
        if code == 0:
            return Result(summary=self._last, session_id="", exit_code=0)
        words = f"{self.name} ended with exit code {code}."
        return Result(
            summary="",
            session_id="",
            failure=Failure.AGENT,
            message=words,
            hint=f"Its last words: {self._last[-500:]}" if self._last else "It said nothing.",
            exit_code=code,
        )

    def _out_of_time(self, *, idle: bool) -> Result:
        limits = self.job.limits
        text = f"silent for {limits.idle_seconds}" if idle else f"not done after {limits.wall_seconds}"
        failure = Failure.IDLE if idle else Failure.TIME
        return Result(
            summary="", session_id="", failure=failure, message=f"The command was {text} seconds.", hint="Allow more."
        )
