"""The webhook events that are understood, and what tells one from another.

A further event is one shape in ``infra/github/payloads.py`` and one row in ``KINDS``; every event that has no row is
acknowledged and counted. https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from infra.github.payloads import (
    CheckRunEvent,
    CheckSuiteEvent,
    InstallationEvent,
    InstallationRepositoriesEvent,
    IssueCommentEvent,
    IssuesEvent,
    Payload,
    Ping,
    PullRequestEvent,
    PushEvent,
    RepositoryEvent,
    ReviewCommentEvent,
    ReviewEvent,
    WorkflowRunEvent,
)


@dataclass(frozen=True, slots=True)
class Unhandled:
    """A genuine event that nothing here listens to; acknowledged and counted. ``action`` is empty where there is none."""

    name: str
    action: str


RepositoryWide = (
    IssuesEvent
    | IssueCommentEvent
    | PullRequestEvent
    | ReviewEvent
    | ReviewCommentEvent
    | CheckRunEvent
    | CheckSuiteEvent
    | WorkflowRunEvent
    | PushEvent
    | RepositoryEvent
)
"""Events that belong to a repository on which the App is installed."""

Event = Ping | RepositoryWide | InstallationEvent | InstallationRepositoriesEvent | Unhandled

SUBJECTS = frozenset(
    {
        *("account", "alert", "answer", "check_run", "check_suite", "client_payload", "comment", "commits"),
        *("deployment", "deployment_status", "discussion", "forkee", "hook", "inputs", "issue", "key", "member"),
        *("membership", "merge_group", "package", "pages", "parent_issue", "project", "project_card"),
        *("project_column", "projects_v2_item", "pull_request", "ref", "release", "repositories_added", "repository"),
        *("repository_ruleset", "review", "rule", "security_advisory", "sponsorship", "starred_at", "sub_issue"),
        *("target_type", "team", "thread", "workflow", "workflow_job", "workflow_run"),
    }
)
"""Top-level keys that say what a delivery is about. GitHub signs the body but not the event's name, so the body itself
must prove that it belongs to the event: exactly its own subjects, no other's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One understood event. ``subjects``: those of ``SUBJECTS`` that every body of this event has; ``perhaps``: those that
    some have; ``never``: what would be harmless elsewhere, but tells here that the body is another event's."""

    shape: type[Payload]
    subjects: frozenset[str]
    perhaps: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()

    def decode(self, body: bytes) -> Event:
        """Raises ``msgspec.MsgspecError`` where the body does not fit."""
        event: Event = _decoder(self.shape).decode(body)
        return event


@cache
def _decoder(shape: type[Payload]) -> msgspec.json.Decoder[Any]:
    """Made at the event's first delivery: a start pays for none of them."""
    return msgspec.json.Decoder(shape)


def _of_repository(shape: type[Payload], *subjects: str) -> Kind:
    return Kind(shape, frozenset({"repository", *subjects}))


KINDS: Mapping[str, Kind] = {
    "ping": Kind(Ping, frozenset({"hook"}), frozenset({"repository"})),
    "issues": _of_repository(IssuesEvent, "issue"),
    "issue_comment": _of_repository(IssueCommentEvent, "issue", "comment"),
    "pull_request": _of_repository(PullRequestEvent, "pull_request"),
    "pull_request_review": _of_repository(ReviewEvent, "pull_request", "review"),
    "pull_request_review_comment": _of_repository(ReviewCommentEvent, "pull_request", "comment"),
    "check_run": _of_repository(CheckRunEvent, "check_run"),
    "check_suite": _of_repository(CheckSuiteEvent, "check_suite"),
    "workflow_run": _of_repository(WorkflowRunEvent, "workflow_run", "workflow"),
    "push": _of_repository(PushEvent, "ref", "commits"),
    "repository": Kind(RepositoryEvent, frozenset({"repository"}), never=frozenset({"label", "milestone"})),
    "installation": Kind(InstallationEvent, frozenset()),
    "installation_repositories": Kind(InstallationRepositoriesEvent, frozenset({"repositories_added"})),
}

OTHER_ACTION = msgspec.json.Decoder(Annotated[str, Meta(max_length=255)])
"""``action`` of an event that is not understood: ``repository_dispatch`` lets callers choose any text."""

ENVELOPE = msgspec.json.Decoder(dict[str, Raw])
"""Any delivery, one level deep: the values stay unparsed bytes."""
