"""What has been told about a run, kept so that everything is told once, also when a process dies between doing and noting.

A run that belongs to an issue or a pull request has one ``Announcement``; each issue or pull request has one ``Conversation``,
which holds the platform's one comment there. Both are decided on here and acted on in ``dispatcher/engine/announce.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from infra.core.clock import DAY, EPOCH, MINUTE, SECOND, Instant, later
from infra.core.ids import RunId
from infra.core.run import Run, State

EDIT_INTERVAL = 15 * SECOND
"""Between two edits that only show progress."""

LOOK_AGAIN = 60 * SECOND
"""How long a nudge may be lost before somebody looks by himself."""

CHECKS_GRACE = 3 * MINUTE
"""Time for a repository's checks to start after our push."""

TELLER_HOLD = 4 * MINUTE
"""A step with all its repetitions takes less; a teller that dies is followed by another after this."""

GIVE_UP = 1 * DAY
"""After this the words are not news any more."""

MAX_EARLIER = 10
"""Ended runs that a comment still lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """``number``: of the issue or pull request. ``due_at``: when to look again, None when all has been told.

    ``done``: the steps that were taken (or cannot be) and are never taken again. ``since``: when the step that may have been interrupted was first tried.
    ``busy_until``: somebody is telling.
    """

    run_id: RunId
    owner: str
    repo: str
    number: int
    installation_id: int
    due_at: Instant | None
    done: tuple[str, ...] = ()
    trying: str = ""
    since: Instant | None = None
    busy_until: Instant = EPOCH

    def held(self, now: Instant) -> Announcement:
        """For one teller alone, and on from step to step: two at once would both find that nothing was told yet."""
        return replace(self, busy_until=later(now, TELLER_HOLD))

    def did(self, step: str) -> bool:
        return step in self.done

    def having(self, step: str) -> Announcement:
        return self if self.did(step) else replace(self, done=(*self.done, step), trying="", since=None)

    def begun(self, step: str, now: Instant) -> Announcement:
        """Noted before something that must not happen twice; ``since`` stays the first time."""
        return self if self.trying == step else replace(self, trying=step, since=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run that has ended, as one line."""

    run_id: RunId
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """``comment`` 0: not known yet. ``begun_at``: when the first try to write it began, so that a comment whose answer was
    lost can be found. ``said`` is a digest of what is shown now. ``busy_until``: somebody is at it.
    ``pull``: the pull request that came of an issue, 0 for none."""

    comment: int = 0
    begun_at: Instant | None = None
    said: str = ""
    edited_at: Instant = EPOCH
    busy_until: Instant = EPOCH
    current: RunId | None = None
    earlier: tuple[Told, ...] = ()


def announced(run: Run, now: Instant) -> Announcement | None:
    """What a new run will be told as; None when there is nobody to tell."""
    if not run.origin.issue:
        return None
    return Announcement(
        run_id=run.id,
        owner=run.owner,
        repo=run.repo,
        number=run.origin.issue,
        installation_id=run.installation_id,
        due_at=later(now, LOOK_AGAIN),
    )


def taken(conversation: Conversation, now: Instant, milliseconds: int) -> Conversation | None:
    """The conversation held for a while; None while somebody else holds it."""
    if conversation.busy_until > now:
        return None
    return replace(conversation, busy_until=later(now, milliseconds))


def with_told(conversation: Conversation, told: Told) -> Conversation:
    """A run has ended: its line joins (or replaces) those of earlier runs."""
    others = tuple(one for one in conversation.earlier if one.run_id != told.run_id)
    return replace(conversation, earlier=(*others, told)[-MAX_EARLIER:])


def next_edit(conversation: Conversation, run: Run, now: Instant) -> int:
    """Milliseconds to wait before the comment may be edited for ``run``. The end is told at once."""
    if run.ended or not conversation.comment:
        return 0
    return max(0, conversation.edited_at + EDIT_INTERVAL - now)


def outdated(run: Run, now: Instant) -> bool:
    """The run ended so long ago that nothing more is told."""
    return run.finished_at is not None and now - run.finished_at > GIVE_UP


def was_good(run: Run) -> bool:
    return run.state in {State.SUCCEEDED, State.NO_CHANGES}
