"""What it takes to be an agent: a job in, events on the way, a result out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from infra.core.clock import Instant
from infra.core.run import Limits, Usage
from infra.core.timeline import EventType
from infra.core.tool_policy import Decision, ToolPolicy
from runner.sandbox import BoxLimits, Door

Sink = Callable[[EventType, Mapping[str, Any]], Awaitable[None]]
"""Takes an event with the data that ``infra/core/timeline.py`` names for its type. Called one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """The model's server refuses this installation's credential; trying again would not help. ``status``: its HTTP status."""

    message: str
    hint: str
    status: int


class ModelAccess(Protocol):
    """The agent's way to the model, and what is known about it; a ``runner.broker.Broker`` is one."""

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str:
        """A placeholder that opens nothing but the broker, for this run only."""
        ...

    @property
    def usage(self) -> Usage: ...

    @property
    def exhausted(self) -> bool:
        """The budget refused or cut something."""
        ...

    @property
    def active_at(self) -> Instant:
        """When the model was last asked or last said something."""
        ...

    async def denied(self) -> Denial:
        """Returns once it is certain that the model's server does not accept the credential."""
        ...


def _nobody(_taken: bool) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message to an agent at work. ``interrupt``: what it does now is broken off first; otherwise it is taken up with the
    next answer. ``settled`` is told, once, whether the agent was given it."""

    text: str
    interrupt: bool = False
    settled: Callable[[bool], None] = _nobody


class ToolAudit(Protocol):
    """Where tool calls are written down; a ``runner.tool_log.ToolLog`` is one. What it raises keeps the call from running."""

    def decided(self, identity: str, name: str, arguments: Mapping[str, Any], decision: Decision) -> None:
        """Before the call runs, or is refused. ``arguments`` are bounded."""
        ...

    def ended(self, identity: str, *, failed: bool) -> None: ...


class NoAudit:
    """Writes nothing down."""

    def decided(self, identity: str, name: str, arguments: Mapping[str, Any], decision: Decision) -> None: ...

    def ended(self, identity: str, *, failed: bool) -> None: ...


class Inbox:
    """What people and the platform say to an agent at work."""

    def __init__(self) -> None:
        self._mail: list[Mail] = []
        self._closed = False
        self._wake: Callable[[], None] = lambda: None

    def put(self, message: str) -> None:
        """From the platform; if the agent ends first, nobody misses it."""
        self.post(Mail(text=message))

    def post(self, mail: Mail) -> None:
        if self._closed:
            mail.settled(False)
            return
        self._mail.append(mail)
        self._wake()

    def on_put(self, wake: Callable[[], None]) -> None:
        """``wake`` is called after each message."""
        self._wake = wake

    def take(self) -> list[Mail]:
        """All that waits, oldest first; whoever takes it settles it."""
        taken, self._mail = self._mail, []
        return taken

    def close(self) -> None:
        """The agent is done: what waits, and what comes, is not delivered."""
        self._closed = True
        for mail in self.take():
            mail.settled(False)


class QuestionKind(StrEnum):
    FREE = "free"
    ONE = "one"
    SEVERAL = "several"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an agent asks people. ``options`` is empty exactly for ``free``."""

    text: str
    kind: QuestionKind = QuestionKind.FREE
    options: tuple[str, ...] = ()


Ask = Callable[[Question], Awaitable[list[str] | None]]
"""Shows a question to people and waits; None when nobody answered in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One agent run.

    ``id`` is unique among live jobs and safe in a file name. The agent works in ``tree`` and owns ``home`` and ``tmp``. ``session_id``: a former
    session to go on with, whose files are still in ``home``; None for a new one. ``new_session_id``: the
    name of a new one (a UUID; empty: the agent's choice); with ``fork`` the former one goes on under it. ``environment``: variables besides
    the agent's own; no secret may be among them. ``doors`` leads to the broker (and whatever else the box may reach).
    ``ask``: how the agent asks people; None when nobody is there to answer. ``uid``: the user to be inside the box, None for
    the sandbox's choice. ``mcp_servers``: name → an ``mcp.server.Server`` in this process.
    ``own_tree``: ``tree`` is a person's own folder. ``hurry``: set when an agent that is being stopped gets no more time for it.
    """

    id: str
    prompt: str
    tree: Path
    home: Path
    tmp: Path
    model: str
    limits: Limits
    model_access: ModelAccess
    session_id: str | None = None
    new_session_id: str = ""
    fork: bool = False
    append_system_prompt: str = ""
    tool_policy: ToolPolicy = field(default_factory=ToolPolicy)
    environment: Mapping[str, str] = field(default_factory=dict)
    box_limits: BoxLimits = field(default_factory=BoxLimits)
    doors: tuple[Door, ...] = ()
    inbox: Inbox = field(default_factory=Inbox)
    ask: Ask | None = None
    audit: ToolAudit = field(default_factory=NoAudit)
    uid: int | None = None
    mcp_servers: Mapping[str, object] = field(default_factory=dict)
    own_tree: bool = False
    hurry: asyncio.Event = field(default_factory=asyncio.Event)


class Failure(StrEnum):
    """Why an agent did not finish its work."""

    MODEL = "failed_model"
    MAX_TURNS = "max_turns"
    BUDGET = "budget"
    AGENT = "agent_error"
    IDLE = "idle_timeout"
    TIME = "timed_out"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How it ended. ``summary`` is the agent's last word. ``failure`` is None exactly when it finished its work; then
    ``message`` and ``hint`` are empty, otherwise they tell a person what happened and what to do.

    ``turns`` and ``reported`` are the agent's own figures (None when it gave none); the broker's are those that count.
    ``model_status``: HTTP status of the model's last error, 0 for none. ``exit_code``: of an agent that is a command.
    """

    summary: str
    session_id: str
    turns: int = 0
    reported: Usage | None = None
    failure: Failure | None = None
    message: str = ""
    hint: str = ""
    model_status: int = 0
    exit_code: int | None = None

    @property
    def ok(self) -> bool:
        return self.failure is None


class Agent(Protocol):
    @property
    def type(self) -> str:
        """One of ``infra.core.commands.AGENT_TYPES``."""
        ...

    def command(self, job: Job) -> str:
        """What is started, in one line for people; no secret is in it."""
        ...

    async def run(self, job: Job, sink: Sink) -> Result:
        """Works until the job is done, a limit is reached or the task is cancelled.

        Whatever the end, no process of the agent is left when this returns or raises. What the agent does wrong is
        a ``Result``; raised are ``Unavailable`` (the agent or its sandbox could not be started, or processes were left)
        and what ``sink`` raises.
        """
        ...
