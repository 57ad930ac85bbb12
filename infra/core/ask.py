"""An ask: what one person wants of a run, in their own words, and where they said it. A run has one ask or several."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from infra.core.clock import Instant

MAX_ASK_CHARS = 66_000
"""GitHub's own limit for an issue or a comment is 65,536. https://docs.github.com/en/rest/issues/comments"""


class Via(StrEnum):
    """What kind of thing the person said it with, and so where an answer belongs."""

    ISSUE = "issue"
    PULL = "pull_request"
    COMMENT = "comment"
    LINE = "line_comment"
    REVIEW = "review"
    CHECK = "check"
    PUSH = "push"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Lines of a file in a diff. ``line`` is the last of them, 0 when the newest diff has the line no more; ``start`` the first."""

    path: str
    line: int
    start: int
    side: str
    hunk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """``actor`` started it and must be allowed to; ``author`` wrote ``text`` (a label is often put on by somebody else).

    ``trigger``: the kind of trigger that heard it (``infra.core.triggers.On``). ``id``: of the comment or review, 0 for none.
    ``permission``: what the actor must have; ``app``: id of the listed App that the actor is, 0 for people.
    ``instructions``: what the project says to do about it. ``head``: the commit that it is about, where that was known.
    ``delivery``: the key under which its delivery is recorded.
    """

    actor: str
    author: str
    text: str
    via: Via
    trigger: str
    url: str
    at: Instant
    delivery: str
    id: int = 0
    place: Place | None = None
    permission: str = "write"
    app: int = 0
    instructions: str = ""
    head: str = ""
    model: str = ""
    budget_micros: int = 0
    max_turns: int = 0

    @property
    def size(self) -> int:
        """Characters that it takes in a prompt."""
        hunk = len(self.place.hunk) if self.place else 0
        return len(self.text) + len(self.instructions) + hunk


@dataclass(frozen=True, slots=True, kw_only=True)
class PullHead:
    """The pull request that a run is about, as it was when the run was asked for. ``fork``: the head is in another repository,
    whose code is never worked on with our credentials."""

    number: int
    branch: str
    sha: str
    base_branch: str
    fork: bool
    open: bool
    draft: bool

    @property
    def workable(self) -> bool:
        """Whether a run may work on the head itself."""
        return self.open and not self.fork


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An ask with all that its run needs to know about where it came from; what waits while another run works.

    ``number``: of the issue or pull request, 0 for a branch. ``title``, ``url``: of that. ``head``: of a pull request, as it was at
    the time. ``ref``, ``sha``: of a push or a check. ``label``: the one that asked. ``about``: the issue or pull request as it was
    delivered, where the ask itself is a comment.
    """

    ask: Ask
    owner: str
    repo: str
    installation_id: int
    number: int
    is_pull: bool
    title: str
    url: str
    head: PullHead | None = None
    ref: str = ""
    sha: str = ""
    label: str = ""
    about: str = ""

    @property
    def subject(self) -> int | str:
        """What has one active run: the issue or pull request, else the branch."""
        return self.number or self.ref


def task_of(asks: tuple[Ask, ...]) -> str:
    """The asks as one text for people: each under its author, in the order in which they came."""
    if len(asks) == 1:
        return _said(asks[0])
    return "\n\n".join(f"{ask.author} ({ask.via.replace('_', ' ')}):\n{_said(ask)}" for ask in asks)


def _said(ask: Ask) -> str:
    return "\n\n".join(part for part in (ask.instructions, ask.text) if part)
