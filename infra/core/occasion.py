"""An occasion: what a signed delivery says has happened, in our own words. Whether it starts anything is decided elsewhere
(``infra/core/matching.py``); an occasion only states facts, and all of them were signed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from infra.core.ask import Place, PullHead, Via
from infra.core.clock import Instant
from infra.core.repository import Repository


class Kind(StrEnum):
    """Named after what people do."""

    OPENED = "opened"
    READY = "ready for review"
    LABELED = "labeled"
    ASSIGNED = "assigned"
    COMMENTED = "commented"
    REVIEWED = "reviewed"
    CHECKED = "checked"
    PUSHED = "pushed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who caused the delivery. ``app``: id of the App that wrote what is delivered, 0 when the payload does not say."""

    login: str
    bot: bool
    app: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check that has come to its end. ``suite``: all checks of one App on a commit rather than a single one."""

    id: int
    name: str
    suite: bool
    conclusion: str
    sha: str
    branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """``number``: of the issue or pull request, 0 when it is about neither. ``title``, ``body``: those of the issue or pull request.

    ``said``: what the sender wrote this time (the comment, the review, or the body of what was opened); ``author`` wrote the
    text that matters. ``pull``: known when the payload shows the head; a comment on a pull request does not.
    ``ref``: the branch of a push. ``label``, ``assignee``: the one just added. ``files``: changed by a push.
    """

    kind: Kind
    via: Via
    repository: Repository
    installation_id: int
    default_branch: str
    sender: Sender
    author: str
    at: Instant
    number: int = 0
    is_pull: bool = False
    open: bool = True
    draft: bool = False
    title: str = ""
    body: str = ""
    said: str = ""
    url: str = ""
    subject_url: str = ""
    id: int = 0
    label: str = ""
    labels: tuple[str, ...] = ()
    assignee: str = ""
    review_state: str = ""
    pull: PullHead | None = None
    place: Place | None = None
    check: Check | None = None
    ref: str = ""
    sha: str = ""
    files: tuple[str, ...] | None = None

    @property
    def subject(self) -> str:
        """What the occasion is about, as people call it."""
        if not self.number:
            return f"branch {self.ref}" if self.ref else "the repository"
        return f"pull request #{self.number}" if self.is_pull else f"issue #{self.number}"

    @property
    def fork(self) -> bool:
        return self.pull is not None and self.pull.fork


@dataclass(frozen=True, slots=True)
class Nothing:
    """A delivery that can start nothing, whatever the triggers are, and why."""

    reason: str
