"""Triggers as data: what, in a project, starts a run. Read from ``.claude/triggers.yaml`` on the default branch
(``infra/core/triggers_file.py``); a project without that file has the two of ``default_triggers``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

PATH = ".claude/triggers.yaml"
"""On the default branch only: a pull request cannot change who may start what."""

MAX_TRIGGERS = 50
HANDLE = "claude"

FAILURES = ("failure", "timed_out", "startup_failure")
"""Conclusions that a person would call red. ``cancelled``, ``stale`` and ``action_required`` have other causes.
https://docs.github.com/en/rest/guides/using-the-rest-api-to-interact-with-checks"""


class On(StrEnum):
    """What a trigger listens to."""

    LABEL = "label"
    ASSIGNMENT = "assignment"
    MENTION = "mention"
    COMMAND = "command"
    PULL_REQUEST = "pull_request"
    REVIEW = "review"
    CI_FAILED = "ci_failed"
    PUSH = "push"


UNASKED = frozenset({On.PULL_REQUEST, On.REVIEW, On.CI_FAILED, On.PUSH})
"""Nobody speaks to us in these: they never start anything for a pull request from a fork."""

OPEN_TO_ANYBODY = frozenset({On.MENTION, On.COMMAND, On.PULL_REQUEST, On.REVIEW})
"""Whoever can read a public repository can cause these. A label, an assignment or a push take rights already, although
an issue form can set labels for anybody, which is why the permission is asked for again before a runner starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names that are let in (``only``; empty: all) and names that are kept out (``never``), as globs; case does not count."""

    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def refusal(self, name: str) -> str:
        """Why ``name`` does not pass; empty when it does."""
        if _fits(name, self.never):
            return f"{name} is excluded"
        if self.only and not _fits(name, self.only):
            return f"{name} is not among {', '.join(self.only)}"
        return ""

    def some(self, names: Iterable[str]) -> bool:
        """Whether at least one of the names passes."""
        return any(not self.refusal(name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Changed files, as globs over whole paths or folders; case counts. At least one file must pass."""

    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def asked(self) -> bool:
        return bool(self.only or self.never)

    def refusal(self, files: Iterable[str]) -> str:
        from infra.core.protected_paths import matches  # brings long lists along; few projects filter by files

        for path in files:
            if not matches(path, self.never) and (not self.only or matches(path, self.only)):
                return ""
        return "no changed file is among those that this trigger is about"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFilter:
    """All of these, at least one of these, none of these."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def refusal(self, labels: Iterable[str]) -> str:
        there = {label.casefold() for label in labels}
        for label in self.all:
            if label.casefold() not in there:
                return f"the label {label!r} is missing"
        if self.any and not any(label.casefold() in there for label in self.any):
            return f"none of the labels {', '.join(self.any)} is there"
        for label in self.none:
            if label.casefold() in there:
                return f"the label {label!r} is there"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What must hold beside the trigger itself. ``draft`` None: drafts and others alike. ``teams``: slugs in the
    repository's organization; membership in one of them is enough. ``permission``: write, maintain or admin."""

    authors: Names = Names()
    teams: tuple[str, ...] = ()
    permission: str = "write"
    labels: LabelFilter = LabelFilter()
    branches: Names = Names()
    files: Paths = Paths()
    draft: bool | None = None
    checks: Names = Names()
    conclusions: tuple[str, ...] = FAILURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """``name``: the label, handle, command or account that it listens to; for a review the state (``changes_requested``,
    ``commented``, ``approved``). ``cooldown_seconds``: since the subject's last run. ``instructions``: what to do, said to
    the agent before what people wrote. ``model`` empty: the operator's."""

    on: On
    name: str = ""
    filter: Filter = Filter()
    cooldown_seconds: int = 0
    instructions: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """``bots``: ids of the Apps whose bots may start runs."""

    items: tuple[Trigger, ...]
    bots: tuple[int, ...] = ()


def default_triggers(label: str, handle: str = HANDLE) -> Triggers:
    """What holds without a file: the operator's label, and being spoken to."""
    return Triggers(items=(Trigger(on=On.LABEL, name=label), Trigger(on=On.MENTION, name=handle)))


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in patterns)
