"""The webhook events that are understood: their shapes, and what tells one from another.

The shapes are strict about what is used and blind to everything else, because GitHub adds keys without notice.
A further event is one ``Struct`` and one row in ``KINDS``. https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Action = Annotated[str, Meta(pattern=r"\A[a-z_]{1,64}\Z")]
WebUrl = Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,2000}\Z")]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all shapes: immutable, unknown keys are skipped without being parsed."""


class Account(Payload, frozen=True, kw_only=True):
    """``type``: User, Bot, Organization, Mannequin …"""

    id: Id
    login: Name
    type: str = "User"


class RepositoryName(Payload, frozen=True, kw_only=True):
    """``full_name`` is ``owner/name``, still to be checked by ``infra.core.repository``."""

    id: Id
    full_name: Annotated[str, Meta(min_length=3, max_length=300)]


class InstallationId(Payload, frozen=True, kw_only=True):
    id: Id


class Label(Payload, frozen=True, kw_only=True):
    name: Name


class Issue(Payload, frozen=True, kw_only=True):
    """``body`` None: left empty. ``user`` None: the account was deleted. ``updated_at`` has a UTC offset.
    ``state`` is empty in the few payloads that leave it out."""

    number: Id
    title: str
    html_url: WebUrl
    updated_at: Annotated[datetime, Meta(tz=True)]
    user: Account | None
    state: str = ""
    author_association: str = "NONE"
    body: str | None = None
    labels: tuple[Label, ...] = ()


class IssuesEvent(Payload, frozen=True, kw_only=True):
    """``issues``. ``label`` is the one just added or removed (``labeled``, ``unlabeled``)."""

    action: Action
    issue: Issue
    repository: RepositoryName
    installation: InstallationId
    sender: Account
    label: Label | None = None


class Ping(Payload, frozen=True, kw_only=True):
    """``ping``: GitHub's greeting when a hook is made or tested."""

    zen: Annotated[str, Meta(max_length=1000)]
    hook_id: Id


@dataclass(frozen=True, slots=True)
class Unhandled:
    """A genuine event that nothing here listens to; acknowledged and counted. ``action`` is empty where there is none."""

    name: str
    action: str


Event = Ping | IssuesEvent | Unhandled

SUBJECTS = frozenset(
    {
        *("alert", "answer", "check_run", "check_suite", "comment", "commits", "deployment", "deployment_status"),
        *("discussion", "forkee", "hook", "issue", "membership", "package", "pages", "project_card", "project_column"),
        *(
            "projects_v2_item",
            "pull_request",
            "ref",
            "release",
            "review",
            "rule",
            "security_advisory",
            "team",
            "thread",
        ),
        *("workflow", "workflow_job", "workflow_run"),
    }
)
"""Top-level keys that say what a delivery is about. GitHub signs the body but not the event's name, so the body itself
must prove that it belongs to the event: exactly its own subjects, no other's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One understood event. ``subjects``: those of ``SUBJECTS`` that every body of this event has."""

    decode: Callable[[bytes], Event]
    subjects: frozenset[str]


KINDS: Mapping[str, Kind] = {
    "ping": Kind(msgspec.json.Decoder(Ping).decode, frozenset({"hook"})),
    "issues": Kind(msgspec.json.Decoder(IssuesEvent).decode, frozenset({"issue"})),
}

OTHER_ACTION = msgspec.json.Decoder(Annotated[str, Meta(max_length=255)])
"""``action`` of an event that is not understood: ``repository_dispatch`` lets callers choose any text."""

ENVELOPE = msgspec.json.Decoder(dict[str, Raw])
"""Any delivery, one level deep: the values stay unparsed bytes."""
