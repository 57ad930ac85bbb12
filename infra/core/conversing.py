"""What the platform says and does in a conversation on the forge: an issue, a pull request, a thread on one of its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from infra.core.clock import Instant


class Reaction(StrEnum):
    """The forge's own names. https://docs.github.com/en/rest/reactions/reactions#about-reactions"""

    EYES = "eyes"
    ROCKET = "rocket"
    CONFUSED = "confused"


class Spoken(StrEnum):
    """What kind of thing can be reacted to."""

    ISSUE = "issue"
    COMMENT = "comment"
    REVIEW_COMMENT = "review_comment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment under an issue or a pull request. ``author``: login, empty for a deleted account."""

    id: int
    author: str
    body: str
    url: str


class Conclusion(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    ACTION_REQUIRED = "action_required"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheck:
    """A finished check run of the App's own. ``external_id`` finds it again; ``details_url`` is where its link leads."""

    name: str
    head_sha: str
    external_id: str
    conclusion: Conclusion
    title: str
    summary: str
    details_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """Somebody's check on a commit. ``app``: slug of the App that made it; ``conclusion`` empty until it is completed."""

    id: int
    name: str
    app: str
    status: str
    conclusion: str
    external_id: str = ""
    title: str = ""
    summary: str = ""
    url: str = ""
    started_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A review thread. ``id`` is the forge's opaque node id; ``comments`` are the numbers of those in it, oldest first."""

    id: str
    comments: tuple[int, ...]
    resolved: bool


class Relation(StrEnum):
    """How a head stands to a base: what a comparison of two commits says."""

    IDENTICAL = "identical"
    AHEAD = "ahead"
    BEHIND = "behind"
    DIVERGED = "diverged"


class Conversing(Protocol):
    """All calls raise what ``infra.core.forge.RepositoryForge`` says. Those that say they may be repeated leave one thing behind."""

    async def comment(self, issue: int, body: str) -> int:
        """Adds a comment to an issue or pull request; returns its id. Repeating it adds a second one."""
        ...

    async def edit_comment(self, comment: int, body: str) -> None:
        """Replaces the text. Raises ``NotFound`` when somebody deleted the comment. May be repeated."""
        ...

    async def comments_since(self, issue: int, since: Instant) -> tuple[Comment, ...]:
        """Those written or changed at or after ``since``, oldest first."""
        ...

    async def react(self, spoken: Spoken, number: int, reaction: Reaction) -> None:
        """``number``: of the issue, or id of the comment. May be repeated."""
        ...

    async def add_labels(self, issue: int, names: Sequence[str]) -> None:
        """Labels that do not exist are made. May be repeated."""
        ...

    async def remove_label(self, issue: int, name: str) -> None:
        """Nothing happens when the label is not there. May be repeated."""
        ...

    async def assign(self, issue: int, logins: Sequence[str]) -> None:
        """Those who cannot be assigned are left out by the forge. May be repeated."""
        ...

    async def request_reviewers(self, pull: int, logins: Sequence[str], teams: Sequence[str]) -> None:
        """Raises ``Invalid`` for people who cannot review here. May be repeated."""
        ...

    async def reply(self, pull: int, comment: int, body: str) -> int:
        """Answers in the thread of a review comment; returns the answer's id. Repeating it adds a second one."""
        ...

    async def review_comments_since(self, pull: int, since: Instant) -> tuple[Comment, ...]: ...

    async def thread_of(self, pull: int, comment: int) -> Thread | None:
        """The thread that a review comment belongs to, wherever in it the comment stands; None when there is none."""
        ...

    async def resolve_thread(self, thread: str) -> None:
        """May be repeated."""
        ...

    async def add_check(self, check: NewCheck) -> int:
        """Adds a check run of the App's own; returns its id. Repeating it adds a second one."""
        ...

    async def checks_on(self, ref: str, *, newest: bool = True) -> tuple[CheckRun, ...]:
        """The check runs on a commit, at most a hundred; ``newest``: only the last of each name."""
        ...

    async def rerun_check(self, check: CheckRun) -> None:
        """Starts it again. Raises ``Forbidden`` where the App may not."""
        ...

    async def compare(self, base: str, head: str) -> Relation:
        """Raises ``NotFound`` when the two have nothing in common or one does not exist."""
        ...
