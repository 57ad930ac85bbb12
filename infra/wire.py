"""What travels between runner and gateway, as types; both sides decode strictly and refuse unknown keys.

Every request carries ``Authorization: Bearer RUN_TOKEN`` and is signed as ``infra/core/access.py`` describes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from infra.core.clock import Instant
from infra.core.container_tools import ToolRules
from infra.core.mcp_order import McpOrder
from infra.core.publish_policy import CommitMode
from infra.core.run import Checkpoint, Delivered, Discrepancy, Limits, Phase, Reason, State, Usage
from infra.core.store_rules import MAX_INSTANT
from infra.core.timeline import EventType
from infra.core.words import CoAuthor


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is parsed from outside: unknown keys are errors, values cannot change."""


class ProcessIssue(Strict, frozen=True, kw_only=True):
    """Body of the runner service's ``POST /process-issue`` (and the content of the task that makes it)."""

    run_id: str
    token: str
    gateway_url: str


class RunLaunch(Strict, frozen=True, kw_only=True):
    """Body of the internal calls about a run's execution: which run, and which of its launches."""

    run_id: str
    launch: int


class ClaimRequest(Strict, frozen=True, kw_only=True):
    """``holder``: unique per process and attempt; ``host``: service, job or laptop."""

    holder: str
    host: str
    version: str


class ResumeFrom(Strict, frozen=True, kw_only=True):
    """Where a new run takes up what another one left.

    ``artifact`` names the conversation's checkpoint (``checkpoints/session.bundle``), ``work`` that of its files
    (``checkpoints/work.bundle``), among the *new* run's own artifacts: whoever makes the run copies them there, so that the
    run's token opens nothing of another run. Without ``work`` the files are those of the new run's base, as for a follow-up
    on the published branch; with it, ``base_sha`` must be the old run's. ``session_id`` is the conversation to go on with;
    with ``fork`` it goes on as a new one and the old one stays as it was. ``run_id``: the old run.
    """

    run_id: str
    artifact: str
    session_id: str = ""
    fork: bool = False
    work: str = ""


class ProjectOrder(Strict, frozen=True, kw_only=True):
    """What the project's own file asks for and the installation grants.

    ``memory_bytes``: for each process of the agent, 0 for the runner's own limit. ``run_as_user`` None: the sandbox chooses.
    ``warnings``: what is in the file and cannot be honoured, one line each.
    """

    tools: ToolRules = ToolRules()
    mcp_servers: tuple[McpOrder, ...] = ()
    memory_bytes: int = 0
    run_as_user: int | None = None
    base_image: str = ""
    warnings: tuple[str, ...] = ()


class Assignment(Strict, frozen=True, kw_only=True):
    """Everything a runner needs to know about its run; holds no secret.

    ``prompt`` is the finished text for the agent. ``git_url`` is the clean clone URL. ``author_name``/``author_email``: the
    bot's identity for the commit. ``closes``: issue number to close, 0 for none. ``allowed_domains``: what the agent may reach
    outside, as ``infra/core/egress.py`` reads it. ``record``: whether the conversation with the model is kept as a
    cassette. ``notices``: what people should know about the task, one line each. ``attachments``: pictures among the run's artifacts
    that are laid out beside the clone.
    ``pull``: the open pull request that the commit joins, 0 for a new one; ``draft`` and ``commit_mode``: how it is published.
    ``co_author``: the person who asked, None when that is nobody the forge knows.
    """

    run_id: str
    owner: str
    repo: str
    git_url: str
    api_url: str
    ref: str
    base_sha: str
    branch: str
    title: str
    prompt: str
    closes: int
    requested_by: str
    author_name: str
    author_email: str
    model: str
    limits: Limits
    run_url: str
    rehearsal: bool
    allowed_domains: tuple[str, ...] = ()
    record: bool = False
    notices: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    resume_from: ResumeFrom | None = None
    pull: int = 0
    draft: bool = False
    commit_mode: CommitMode = CommitMode.PUSH
    co_author: CoAuthor | None = None
    project: ProjectOrder = ProjectOrder()


class Claimed(Strict, frozen=True, kw_only=True):
    """``used``: what the attempts before have spent, as far as they could tell."""

    fence: int
    attempt: int
    lease_seconds: float
    heartbeat_seconds: float
    next_sequence: int
    assignment: Assignment
    checkpoint: Checkpoint | None
    used: Usage = Usage()


class Heartbeat(Strict, frozen=True, kw_only=True):
    """``number`` counts the heartbeats of an attempt from 1, so that one which was overtaken is known as late."""

    fence: int
    number: int = 0
    phase: Phase
    checkpoint: Checkpoint | None = None
    spent: Usage | None = None


class Beat(Strict, frozen=True, kw_only=True):
    """``cancel``: somebody asked for the run to stop."""

    cancel: bool
    lease_seconds: float


class Release(Strict, frozen=True, kw_only=True):
    """A runner that must go hands its run back: the next attempt may start at once, from ``checkpoint``."""

    fence: int
    checkpoint: Checkpoint | None = None
    spent: Usage | None = None


class Released(Strict, frozen=True, kw_only=True):
    state: State


class CommandKind(StrEnum):
    MESSAGE = "message"
    ANSWER = "answer"
    COMMAND = "command"
    STOP = "stop"


class MessageData(Strict, frozen=True, kw_only=True):
    """``queue``: taken up with the agent's next answer. ``interrupt``: what it does now is broken off first."""

    text: str
    mode: Literal["queue", "interrupt"] = "queue"


class AnswerData(Strict, frozen=True, kw_only=True):
    """``answers``: one text for free text and one-of, any number for several-of."""

    question_id: str
    answers: list[str]


class CommandData(Strict, frozen=True, kw_only=True):
    """``argv`` must be on the list (``infra/core/commands.py``), word for word."""

    argv: list[str]


class Command(Strict, frozen=True, kw_only=True):
    """Something a person asks of a live run. ``data`` by kind: MessageData, AnswerData, CommandData, nothing for stop."""

    sequence: int
    id: str
    kind: CommandKind
    data: dict[str, Any]
    issued_by: str
    at: Instant


class Commands(Strict, frozen=True, kw_only=True):
    """In order, from ``after`` on."""

    commands: list[Command]


class CommandState(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class CommandResult(Strict, frozen=True, kw_only=True):
    """What became of a command. ``text``: output or reason; ``artifact``: where the whole output is kept."""

    state: CommandState
    exit_code: int | None = None
    text: str = ""
    artifact: str = ""


class CredentialsRequest(Strict, frozen=True, kw_only=True):
    """``kind``: ``clone`` (read-only, one repository), ``model``, ``mcp`` or ``publish`` (write; refused unless the run is publishing)."""

    fence: int
    kind: str


class GitCredentials(Strict, frozen=True, kw_only=True):
    token: str
    expires_at: int


class ModelCredentials(Strict, frozen=True, kw_only=True):
    """``headers`` are put on each request by the broker; ``base_url`` is the upstream without a trailing slash.

    ``expires_at``: when to ask for new ones at the latest, 0 for never. ``outlets``: what the model's servers may do for the agent
    beyond answering (``infra/core/outlets.py``). ``project`` and ``region`` belong to the mode ``vertex``;
    ``surcharge_percent`` is what that region adds to list prices.
    """

    mode: str
    base_url: str
    headers: dict[str, str]
    allowed_models: list[str]
    outlets: tuple[str, ...] = ()
    expires_at: int = 0
    project: str = ""
    region: str = ""
    surcharge_percent: int = 0


class McpCredentials(Strict, frozen=True, kw_only=True):
    """``values``: server → its variable → value. They go into that server's own box and nowhere else."""

    values: dict[str, dict[str, str]]


class WireEvent(Strict, frozen=True, kw_only=True):
    sequence: int
    type: EventType
    at: Instant
    data: dict[str, Any]


class EventBatch(Strict, frozen=True, kw_only=True):
    run_id: str
    fence: int
    events: list[WireEvent]


class SentEvent(Strict, frozen=True, kw_only=True):
    """An event as the gateway reads it: the type is checked by hand, so that an unknown one is told apart."""

    sequence: Annotated[int, msgspec.Meta(ge=1, le=10**11)]
    type: str
    at: Annotated[Instant, msgspec.Meta(ge=0, le=MAX_INSTANT)]
    data: dict[str, Any]


class EventPost(Strict, frozen=True, kw_only=True):
    """Body of ``POST /api/ingest/event``: an ``EventBatch``, or the same with one ``event``."""

    run_id: str
    fence: int
    event: SentEvent | None = None
    events: list[SentEvent] | None = None


class Ingested(Strict, frozen=True, kw_only=True):
    next_sequence: int


class StoredArtifact(Strict, frozen=True, kw_only=True):
    name: str
    size: int
    sha256: str


class ArtifactPart(Strict, frozen=True, kw_only=True):
    """How much of a file that comes in parts is there: the next part starts at ``offset``, ``total`` is its size.
    ``stored`` is the file once it is whole."""

    name: str
    offset: int
    total: int
    stored: StoredArtifact | None = None


class Settlement(Strict, frozen=True, kw_only=True):
    """The runner's report. The gateway believes none of it: it asks GitHub before a run counts as succeeded."""

    fence: int
    state: State
    usage: Usage
    reason: Reason | None = None
    delivered: Delivered | None = None
    discrepancy: Discrepancy | None = None


class Settled(Strict, frozen=True, kw_only=True):
    state: State


class Announce(Strict, frozen=True, kw_only=True):
    """Body of ``POST /internal/announce``: tell people about this run."""

    run_id: str
