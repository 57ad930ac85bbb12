"""A run: one agent execution on one repository at one ref. Its states, its lease, and every rule that moves it.

All functions here are pure: they take a ``Run`` and the time, and return the next ``Run`` or raise. Who persists the
result does so with a revision check, so two deciders can never both win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from infra.core.ask import Ask, PullHead
from infra.core.clock import HOUR, MINUTE, SECOND, Instant, later
from infra.core.compute_price import Compute
from infra.core.errors import Conflict
from infra.core.hidden_text import Removal
from infra.core.ids import RunId


class State(StrEnum):
    QUEUED = "queued"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    WAITING_APPROVAL = "waiting_approval"
    WAITING_BUDGET = "waiting_budget"
    WAITING_RATE_LIMIT = "waiting_rate_limit"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    NO_CHANGES = "no_changes"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"


class Phase(StrEnum):
    """Where a running run is; kept as the checkpoint from which the next attempt resumes."""

    CLONING = "cloning"
    WORKING = "working"
    PUBLISHING = "publishing"


TERMINAL = frozenset({State.SUCCEEDED, State.NO_CHANGES, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.BLOCKED})

_WAITS = {State.WAITING_APPROVAL, State.WAITING_BUDGET, State.WAITING_RATE_LIMIT, State.PAUSED}

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.PROVISIONING, State.RUNNING, State.FAILED, State.CANCELLED, State.BLOCKED, *_WAITS}),
    State.PROVISIONING: frozenset(
        {State.QUEUED, State.RUNNING, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.BLOCKED}
    ),
    # back to queued: the holder was lost and the next attempt resumes from the checkpoint
    State.RUNNING: frozenset({State.QUEUED, *TERMINAL, *_WAITS}),
    **{wait: frozenset({State.QUEUED, State.CANCELLED, State.FAILED, State.BLOCKED}) for wait in sorted(_WAITS)},
    **{end: frozenset() for end in sorted(TERMINAL)},
}
"""The only moves there are. ``docs/run-states.md`` is generated from this table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on the run until ``expires_at``. ``fence`` only grows: writes under an older one are refused.

    ``beat``: number of the newest heartbeat under it.
    """

    holder: str
    fence: int
    expires_at: Instant
    beat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the request came from and who asked.

    ``kind``: workflow_dispatch, github_issue, github_pull, github_branch; ``actor``: login or API key id; ``issue``: number of
    the issue or pull request, 0 when there is none; ``pull``: it is a pull request; ``comment``: id of the comment that asked,
    0 for none; ``in_thread``: that comment stands on a line of the pull request's diff; ``label``: the one that asked, taken
    off when the run starts; ``delivery``: the key that de-duplicates the request.
    """

    kind: str
    actor: str
    issue: int = 0
    issue_url: str = ""
    delivery: str = ""
    pull: bool = False
    comment: int = 0
    in_thread: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one attempt may use. Money in millionths of a US dollar, times in seconds."""

    budget_micros: int
    wall_seconds: int
    idle_seconds: int
    max_turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and money spent so far, all attempts together. ``cost_micros``: millionths of a US dollar.

    ``cost_basis``: ``metered`` (counted by the broker from each answer), ``reported`` (the agent's own figure) or
    ``unknown`` (nothing could be counted; the budget keeps the whole reservation).
    """

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_micros: int = 0
    cost_basis: str = "metered"

    def plus(self, other: Usage) -> Usage:
        return Usage(
            turns=self.turns + other.turns,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_micros=self.cost_micros + other.cost_micros,
            cost_basis=self.cost_basis
            if self.cost_basis == other.cost_basis
            else "unknown"
            if "unknown" in (self.cost_basis, other.cost_basis)
            else "reported",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """The broker's figures minus the agent's own, where they do not agree. ``cost_micros``: millionths of a US dollar."""

    cost_micros: int
    input_tokens: int
    output_tokens: int
    cache_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the next attempt need not do again. ``result`` names the artifact with the agent's saved work (a git bundle)."""

    phase: Phase
    base_sha: str = ""
    head_sha: str = ""
    session_id: str = ""
    result: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """What a run takes up of its parent: the conversation ``session_id`` in ``artifact`` and the files in ``work``, both among
    its own artifacts. ``fork``: the conversation goes on as a new one."""

    artifact: str
    session_id: str
    work: str = ""
    fork: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The pull request that the run opened or adopted."""

    number: int
    url: str
    branch: str
    head_sha: str
    files_changed: int = 0
    lines_added: int = 0
    lines_removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a run ended as it did: a stable code, one sentence, and the next step."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The whole record of a run.

    ``wake_at`` is when the sweeper must look at it again; every non-terminal run has one. ``launch`` counts the tasks
    made for it: a task's name and the run token carry it, so whatever belongs to an older launch is refused.
    ``compute`` is the time that runners held the run, and its price.
    ``execution`` is the job execution that was started for the present launch, as the platform calls it, and
    ``size`` its class (infra/core/execution.py); both are empty on the service.
    ``spent`` is what the present attempt has said it used; it joins ``usage`` when the attempt is over, however it ends.
    ``removed`` is what was hidden in the task's text and taken out of it; None until somebody has looked, and until then
    ``title`` and ``task`` are as strangers wrote them. ``pull``: the open pull request that the run adds
    commits to, 0 for a pull request of its own; ``branch_name``: where its commits go, empty for ``claude/ID``.
    ``asks`` are what people want, for runs that began on the forge: ``task`` is made of them at the claim;
    ``about`` is the issue or pull request that they stand under, where it is not one of them itself. ``head`` is the pull request that the run is about, as it was when the run was asked for.
    ``notes``: what people should know about how it came about, a sentence each. ``discrepancy``: how the agent's own account
    of what it used differs from ours, None when it does not.
    ``attach``: a person's runner works on it, nothing is launched. ``parent``: the run that this one goes on from, and
    ``resume`` what it takes up of it. ``hidden_at``: when somebody removed it from the lists.
    """

    id: RunId
    owner: str
    repo: str
    installation_id: int
    ref: str
    base_sha: str
    title: str
    task: str
    action: str
    origin: Origin
    limits: Limits
    model: str
    state: State
    created_at: Instant
    updated_at: Instant
    wake_at: Instant | None
    phase: Phase | None = None
    attempt: int = 0
    fence: int = 0
    lease: Lease | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    cancel_requested_at: Instant | None = None
    checkpoint: Checkpoint | None = None
    delivered: Delivered | None = None
    reason: Reason | None = None
    usage: Usage = Usage()
    spent: Usage = Usage()
    launch: int = 1
    launched_at: Instant
    removed: tuple[Removal, ...] | None = None
    pull: int = 0
    branch_name: str = ""
    attach: bool = False
    parent: str = ""
    resume: Resume | None = None
    hidden_at: Instant | None = None
    discrepancy: Discrepancy | None = None
    execution: str = ""
    size: str = ""
    asks: tuple[Ask, ...] = ()
    about: str = ""
    head: PullHead | None = None
    notes: tuple[str, ...] = ()
    compute: Compute = field(default_factory=Compute)

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def branch(self) -> str:
        """Settled before the first attempt works: two attempts cannot disagree about it."""
        return self.branch_name or f"claude/{self.id}"

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.repo}"


class Ended(Conflict):
    """The run is over; nothing more may be done to it."""

    default_code = "run_ended"


class Held(Conflict):
    """Another runner holds a live lease."""

    default_code = "run_held"


class Superseded(Conflict):
    """A newer launch has replaced this one."""

    default_code = "launch_superseded"


class Fenced(Conflict):
    """The caller's lease was taken over; it must stop without touching anything."""

    default_code = "lease_lost"


MAX_ATTEMPTS = 5
"""Attempts after which a run that keeps losing its runner is given up, so that a poison run cannot circle for ever."""

MAX_LAUNCHES = 12
"""Launches after which a run that no runner ever claims is given up."""

ATTACH_WINDOW = 24 * HOUR
"""How long a run waits for a person's runner, and takes it back when it was lost."""

LAUNCH_GRACE = 60 * SECOND
"""How long a queued task may take to be claimed before the sweeper creates it anew."""


PROVISION_GRACE = 5 * MINUTE
"""How long a job execution may take to claim its run."""


def move(run: Run, to: State, now: Instant) -> Run:
    """The run in its new state. Raises ``Ended`` or ``Conflict`` when the table has no such arrow."""
    if to not in TRANSITIONS[run.state]:
        if run.ended:
            raise Ended(f"Run {run.id} already ended as {run.state}.", hint="Start a new run.")
        raise Conflict(f"Run {run.id} cannot go from {run.state} to {to}.", code="invalid_transition")
    ending = to in TERMINAL
    return replace(
        run,
        state=to,
        updated_at=now,
        lease=None if to is not State.RUNNING else run.lease,
        compute=run.compute if to is State.RUNNING else run.compute.until(now),
        phase=run.phase if to is State.RUNNING or ending else None,
        finished_at=now if ending else None,
        wake_at=None if ending else run.wake_at,
    )


def claim(run: Run, *, holder: str, now: Instant, lease_ms: int, host: str = "", size: str = "") -> Run:
    """Takes the run for ``holder`` under the next fence. ``host`` and ``size``: what the holder's time is billed as.

    Raises ``Ended`` when there is nothing left to do and ``Held`` while another holder's lease lives. Claiming again
    by the same holder is a lost answer repeated, and renews.
    """
    if run.ended:
        raise Ended(f"Run {run.id} already ended as {run.state}.")
    if run.lease is not None and run.lease.expires_at > now and run.lease.holder != holder:
        raise Held(
            f"Run {run.id} is being worked on by another runner.",
            hint="Nothing to do: the other runner will finish it.",
        )
    if run.lease is not None and run.lease.holder == holder and run.state is State.RUNNING:
        return renew(run, fence=run.fence, now=now, lease_ms=lease_ms)
    fence = run.fence + 1
    expires = later(now, lease_ms)
    started = move(run, State.RUNNING, now) if run.state is not State.RUNNING else run
    return replace(
        started,
        attempt=run.attempt + 1,
        fence=fence,
        lease=Lease(holder=holder, fence=fence, expires_at=expires),
        phase=run.checkpoint.phase if run.checkpoint else Phase.CLONING,
        started_at=run.started_at or now,
        reason=None,
        usage=run.usage.plus(run.spent),
        spent=Usage(),
        compute=run.compute.begun(host, size, now),
        updated_at=now,
        wake_at=expires,
    )


def provision(run: Run, launch: int, now: Instant) -> Run:
    """An execution is about to be started for this launch. Raises ``Ended``, ``Superseded``, or ``Conflict`` when a runner has it."""
    if run.launch != launch:
        raise Superseded(f"Run {run.id} was launched anew.")
    moved = move(run, State.PROVISIONING, now) if run.state is not State.PROVISIONING else run
    return replace(moved, updated_at=now, wake_at=later(now, PROVISION_GRACE))


def postponed(run: Run, now: Instant) -> Run:
    """A queued run that waits for its turn: no launch is used up by that."""
    return replace(run, wake_at=later(now, LAUNCH_GRACE)) if run.state is State.QUEUED else run


def check_fence(run: Run, fence: int) -> None:
    """Raises ``Ended`` or ``Fenced`` unless ``fence`` is the newest lease of a running run."""
    if run.ended:
        raise Ended(f"Run {run.id} already ended as {run.state}.")
    if run.lease is None or run.fence != fence:
        raise Fenced(
            f"The lease with fence {fence} on run {run.id} was taken over.",
            hint="Stop now; another attempt owns the run.",
        )


def renew(
    run: Run,
    *,
    fence: int,
    now: Instant,
    lease_ms: int,
    beat: int = 0,
    phase: Phase | None = None,
    checkpoint: Checkpoint | None = None,
    spent: Usage | None = None,
) -> Run:
    """A heartbeat: the lease lives on; phase, checkpoint and what was spent move forward.

    ``beat`` numbers the heartbeats of a lease; one that was overtaken on its way changes nothing, or the run would go back
    to a phase it has left. 0: not numbered.
    """
    check_fence(run, fence)
    assert run.lease is not None
    if beat and beat <= run.lease.beat:
        return run
    expires = later(now, lease_ms)
    return replace(
        run,
        lease=replace(run.lease, expires_at=expires, beat=max(beat, run.lease.beat)),
        phase=phase or run.phase,
        checkpoint=checkpoint or run.checkpoint,
        spent=spent or run.spent,
        updated_at=now,
        wake_at=expires,
    )


def release(
    run: Run, *, fence: int, now: Instant, checkpoint: Checkpoint | None = None, spent: Usage | None = None
) -> Run:
    """The holder must go and hands the run back: it is queued for its next launch at once, to go on from ``checkpoint``.

    Ends it instead when it was to be cancelled, or when it has had ``MAX_ATTEMPTS``. Raises ``Ended`` and ``Fenced``.
    """
    check_fence(run, fence)
    back = replace(run, checkpoint=checkpoint or run.checkpoint, spent=spent or run.spent, lease=None, wake_at=now)
    queued = swept(back, now)
    assert queued is not None, "it is due now"
    return queued


def request_cancel(run: Run, now: Instant) -> Run:
    """Cancelled at once when nobody works on it; otherwise the holder is asked to stop (and swept if it does not).

    A run that may have a pull request already is never cancelled unseen: its next attempt looks and says what is true.
    """
    if run.ended:
        raise Ended(f"Run {run.id} already ended as {run.state}.", hint="There is nothing to cancel.")
    if _maybe_published(run) or (run.lease is not None and run.lease.expires_at > now):
        return replace(run, cancel_requested_at=run.cancel_requested_at or now, updated_at=now)
    return settle(
        run,
        State.CANCELLED,
        now=now,
        reason=Reason(code="cancelled", message="Cancelled before a runner worked on it."),
    )


def _maybe_published(run: Run) -> bool:
    return run.checkpoint is not None and run.checkpoint.phase is Phase.PUBLISHING


def settle(
    run: Run,
    state: State,
    *,
    now: Instant,
    reason: Reason | None = None,
    delivered: Delivered | None = None,
    usage: Usage | None = None,
    discrepancy: Discrepancy | None = None,
) -> Run:
    """The end, once. ``usage`` is what the last attempt used; without it the last heartbeat's figure counts."""
    return replace(
        move(run, state, now),
        reason=reason,
        delivered=delivered or run.delivered,
        usage=run.usage.plus(usage or run.spent),
        spent=Usage(),
        discrepancy=discrepancy or run.discrepancy,
    )


def swept(run: Run, now: Instant) -> Run | None:
    """What must happen to a run whose ``wake_at`` has passed; None when there is nothing to do.

    A lost holder means the next attempt (or the end, when it was to be cancelled or has had ``MAX_ATTEMPTS``);
    a queued run that nobody claimed gets its task again. A run to be cancelled whose holder was publishing gets one more
    attempt: only somebody with a token can see whether its pull request is there.
    """
    if run.ended or run.wake_at is None or run.wake_at > now:
        return None
    if run.cancel_requested_at is not None and not (_maybe_published(run) and run.attempt < MAX_ATTEMPTS):
        return settle(
            run,
            State.CANCELLED,
            now=now,
            reason=Reason(code="cancelled", message="Cancelled; its runner had stopped answering."),
        )
    if run.attempt >= MAX_ATTEMPTS:
        message = f"Given up after {run.attempt} attempts: each runner was lost before it finished."
        return settle(
            run,
            State.FAILED,
            now=now,
            reason=Reason(
                code="runner_lost",
                message=message,
                hint="Read the last events of the run; the runner's log says why it died.",
            ),
        )
    if run.attach:
        return _left_waiting(run, now)
    if run.launch >= MAX_LAUNCHES:
        message = f"Given up after {run.launch} launches: no runner ever took the run."
        hint = "Check that CLAUDE_CLOUD_RUN_URL answers GET /health and that the queue may call it."
        unreachable = Reason(code="runner_unreachable", message=message, hint=hint)
        return settle(run, State.FAILED, now=now, reason=run.reason or unreachable)
    queued = move(run, State.QUEUED, now) if run.state is not State.QUEUED else run
    return replace(
        queued,
        launch=run.launch + 1,
        launched_at=now,
        execution="",
        size="",
        wake_at=later(now, min(LAUNCH_GRACE * 2 ** (run.launch - run.attempt), 10 * MINUTE)),
        updated_at=now,
    )


def _left_waiting(run: Run, now: Instant) -> Run:
    """A person's runner never came or was lost: the run waits for it under the same token, until that is worth nothing."""
    deadline = later(run.launched_at, ATTACH_WINDOW)
    if now >= deadline:
        hint = "Make a new run, and start it with: claude-runner start --run-id … --token …"
        reason = Reason(code="not_attached", message="No runner of a person's finished it in time.", hint=hint)
        return settle(run, State.FAILED, now=now, reason=reason)
    queued = move(run, State.QUEUED, now) if run.state is not State.QUEUED else run
    return replace(queued, wake_at=deadline, updated_at=now)
