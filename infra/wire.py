"""What travels between runner and gateway, as types; both sides decode strictly and refuse unknown keys.

Every request carries ``Authorization: Bearer RUN_TOKEN`` and is signed as ``infra/core/access.py`` describes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from infra.core.clock import Instant
from infra.core.run import Checkpoint, Delivered, Limits, Phase, Reason, State, Usage
from infra.core.timeline import EventType


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is parsed from outside: unknown keys are errors, values cannot change."""


class ProcessIssue(Strict, frozen=True, kw_only=True):
    """Body of the runner service's ``POST /process-issue`` (and the content of the task that makes it)."""

    run_id: str
    token: str
    gateway_url: str


class ClaimRequest(Strict, frozen=True, kw_only=True):
    """``holder``: unique per process and attempt; ``host``: service, job or laptop."""

    holder: str
    host: str
    version: str


class Assignment(Strict, frozen=True, kw_only=True):
    """Everything a runner needs to know about its run; holds no secret.

    ``prompt`` is the finished text for the agent. ``git_url`` is the clean clone URL. ``author_name``/``author_email``: the
    bot's identity for the commit. ``closes``: issue number to close, 0 for none. ``allowed_domains``: what the agent may reach
    outside, as ``infra/core/egress.py`` reads it. ``notices``: what people should know about the task, one line each.
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
    notices: tuple[str, ...] = ()


class Claimed(Strict, frozen=True, kw_only=True):
    fence: int
    attempt: int
    lease_seconds: float
    heartbeat_seconds: float
    next_sequence: int
    assignment: Assignment
    checkpoint: Checkpoint | None


class Heartbeat(Strict, frozen=True, kw_only=True):
    fence: int
    phase: Phase
    checkpoint: Checkpoint | None = None
    spent: Usage | None = None


class Beat(Strict, frozen=True, kw_only=True):
    """``cancel``: somebody asked for the run to stop."""

    cancel: bool
    lease_seconds: float


class CredentialsRequest(Strict, frozen=True, kw_only=True):
    """``kind``: ``clone`` (read-only, one repository), ``model`` or ``publish`` (write; refused unless the run is publishing)."""

    fence: int
    kind: str


class GitCredentials(Strict, frozen=True, kw_only=True):
    token: str
    expires_at: int


class ModelCredentials(Strict, frozen=True, kw_only=True):
    """``headers`` are put on each request by the broker; ``base_url`` is the upstream without a trailing slash."""

    mode: str
    base_url: str
    headers: dict[str, str]
    allowed_models: list[str]


class WireEvent(Strict, frozen=True, kw_only=True):
    sequence: int
    type: EventType
    at: Instant
    data: dict[str, Any]


class EventBatch(Strict, frozen=True, kw_only=True):
    run_id: str
    fence: int
    events: list[WireEvent]


class Ingested(Strict, frozen=True, kw_only=True):
    next_sequence: int


class StoredArtifact(Strict, frozen=True, kw_only=True):
    name: str
    size: int
    sha256: str


class Settlement(Strict, frozen=True, kw_only=True):
    """The runner's report. The gateway believes none of it: it asks GitHub before a run counts as succeeded."""

    fence: int
    state: State
    usage: Usage
    reason: Reason | None = None
    delivered: Delivered | None = None


class Settled(Strict, frozen=True, kw_only=True):
    state: State
