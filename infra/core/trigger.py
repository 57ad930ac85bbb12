"""Triggers and the decision about them: verified facts in, a value with a reason out. Nothing here acts.

"No" is an ordinary result: ``Ignored`` (not for us) and ``Refused`` (for us, but not allowed) carry reasons that are
stored with the delivery and shown to people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from infra.core.ask import Ask, PullHead
from infra.core.errors import Invalid
from infra.core.hidden_text import Removal
from infra.core.repository import Repository, parse_ref, parse_repository
from infra.core.run import Limits, Origin

MAX_TASK_CHARS = 100_000
"""Room for a long issue with its conversation; with its wrapping it still fits one stored document."""

_CLAUDE_WORKFLOW = re.compile(r"claude(?:[-_.][A-Za-z0-9_-]+)*\.ya?ml", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Action(StrEnum):
    """What a run should deliver."""

    CREATE_PR = "create-pr"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDispatch:
    """An authenticated call of the workflow-dispatch API. ``ref`` empty: the default branch."""

    repository: Repository
    ref: str
    action: Action
    task: str
    caller: str
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows one run to use.

    ``allowed_models``: those that a trigger or a mention may name beside ``model``. ``own_app``: id of our own GitHub App.
    """

    model: str
    limits: Limits
    allowed_models: tuple[str, ...] = ()
    own_app: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run that should exist. ``installation_id`` 0 and an empty ``ref`` mean: to be looked up on the forge.

    ``removed``: what was hidden in the text and taken out of ``title`` and ``task``; None when nobody has looked yet.
    ``about``: the issue or pull request that they stand under, where it is not one of them itself.
    ``asks``: who wants what, for what came from the forge; ``task`` is then empty until a runner claims. ``head``: the pull
    request that it is about.
    """

    repository: Repository
    installation_id: int
    ref: str
    title: str
    task: str
    action: Action
    origin: Origin
    limits: Limits
    model: str
    removed: tuple[Removal, ...] | None = None
    asks: tuple[Ask, ...] = ()
    about: str = ""
    head: PullHead | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    request: RunRequest


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


def parse_workflow_dispatch(
    *,
    owner: str,
    repo: str,
    workflow_id: str,
    ref: str | None,
    action_type: str,
    context: str,
    caller: str,
    idempotency_key: str = "",
) -> WorkflowDispatch:
    """The fields of ``POST /api/workflows/dispatch`` as a trigger. Raises ``Invalid`` naming the field and what is allowed."""
    if _CLAUDE_WORKFLOW.fullmatch(workflow_id) is None:
        raise Invalid(
            "Only Claude workflows can be dispatched; this is not one.",
            code="unsupported_workflow",
            hint='Set "workflowId" to claude.yml. Other workflows belong to GitHub Actions.',
        )
    if action_type not in set(Action):
        known = ", ".join(Action)
        raise Invalid("inputs.action_type is not known.", code="unsupported_action", hint=f"Supported: {known}.")
    return WorkflowDispatch(
        repository=parse_repository(owner, repo),
        ref=parse_ref(ref) if ref else "",
        action=Action(action_type),
        task=parse_task(context),
        caller=caller,
        idempotency_key=idempotency_key,
    )


def parse_task(text: str) -> str:
    """The task text, trimmed. Raises ``Invalid`` when it is empty, too long, or holds control characters."""
    task = text.strip()
    if not task:
        raise Invalid(
            "inputs.context is empty.",
            code="empty_context",
            hint="Describe the task in inputs.context, as you would in an issue.",
        )
    if len(task) > MAX_TASK_CHARS:
        raise Invalid(
            f"inputs.context has {len(task):,} characters; {MAX_TASK_CHARS:,} are allowed.",
            code="context_too_long",
            hint="Put long material into the repository and refer to it.",
        )
    if _CONTROL.search(task):
        raise Invalid(
            "inputs.context holds control characters.",
            code="invalid_context",
            hint="Send plain text; newlines and tabs are fine.",
        )
    return task


def title_of(task: str) -> str:
    """The first line of a task, as a title of at most 72 characters."""
    first = " ".join(task.split("\n", 1)[0].split())
    return first if len(first) <= 72 else first[:71].rstrip() + "…"


def visible_task(title: str, body: str) -> tuple[str, str, tuple[Removal, ...]]:
    """Title, task and what was hidden in them: what a reader of the forge's page sees, and what only a model would.

    Raises ``Invalid`` when nothing is visible. Takes the better part of a millisecond for a long issue.
    """
    from infra.core.hygiene import clean  # 25 ms of patterns to compile: nobody pays for them at a start

    shown_title, shown_body = clean(title), clean(body)  # apart, because neither is Markdown for the other
    task = f"{shown_title.text}\n\n{shown_body.text}".strip()
    if not task:
        raise Invalid(
            "The task holds nothing that a person could see: all of its text is hidden.",
            code="nothing_visible",
            hint="Write the task as plain text that readers of the page can see.",
        )
    return title_of(shown_title.text or task), task, (*shown_title.removed, *shown_body.removed)


def decide(trigger: WorkflowDispatch, policy: Policy) -> Accepted | Refused:
    """What is to happen, from the call's own facts alone. What must be asked of the forge is checked at launch and claim."""
    try:
        title, task, removed = visible_task("", trigger.task)
    except Invalid as error:
        return Refused(error.message)
    return Accepted(
        RunRequest(
            repository=trigger.repository,
            installation_id=0,
            ref=trigger.ref,
            title=title,
            task=task,
            action=trigger.action,
            origin=Origin(kind="workflow_dispatch", actor=trigger.caller, delivery=trigger.idempotency_key),
            limits=policy.limits,
            model=policy.model,
            removed=removed,
        )
    )


_BETWEEN = "\n\n"


def issue_text(title: str, body: str) -> str:
    """An issue as it was written, in one text that ``visible_issue`` takes apart again: a title is one line."""
    return f"{' '.join(title.splitlines())}{_BETWEEN}{body}"[:MAX_TASK_CHARS]


def visible_issue(text: str) -> tuple[str, str, tuple[Removal, ...]]:
    """``visible_task`` of what ``issue_text`` made."""
    title, _, body = text.partition(_BETWEEN)
    return visible_task(title, body)
