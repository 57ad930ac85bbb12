"""What to do about red checks on a pull request: start them again, mend the code, or ask a person. Pure.

A repair costs money and trust, so it takes a reason to begin one: the checks must be known to be green without the change,
and not to be of the kind that fails by itself. What is neither is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from infra.core.ids import RunId

RED = frozenset({"failure", "timed_out", "startup_failure"})
"""What a person would call red. https://docs.github.com/en/rest/guides/using-the-rest-api-to-interact-with-checks"""

MAX_RERUNS = 1
"""For each head: a check that fails by itself twice in a row is nobody's bad luck."""

# Words with which test runners and package managers report the network and the machine, not the code.
_TRANSIENT = re.compile(
    r"connection (reset|refused|timed out)|could not resolve host|temporary failure in name resolution|network is unreachable"
    r"|\b(502 bad gateway|503 service unavailable|504 gateway time-?out)\b|too many requests|tls handshake timeout"
    r"|no space left on device|runner has received a shutdown signal|lost communication with the server|etimedout|econnreset"
    r"|read timed out|rate limit exceeded",
    re.IGNORECASE,
)


class Kind(StrEnum):
    """``FLAKY``: fails and passes on the same code, or for reasons outside of it. ``REAL``: green without the change.
    ``INHERITED``: red without it, too. ``UNCLEAR``: nothing is known."""

    FLAKY = "flaky"
    REAL = "real"
    INHERITED = "inherited"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedCheck:
    """A check that failed. ``said``: what it tells about it. ``here``: conclusions of the same check on the same commit;
    ``on_base``: its conclusion on the base branch, empty when it never ran there."""

    id: int
    name: str
    app: str
    conclusion: str
    said: str
    here: tuple[str, ...] = ()
    on_base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What was tried for one commit."""

    sha: str
    repairs: int = 0
    reruns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was tried on one pull request. ``runs``: the repairs that were counted, so that a second claim counts nothing."""

    heads: tuple[Head, ...] = ()
    repairs: int = 0
    runs: tuple[RunId, ...] = ()

    def head(self, sha: str) -> Head:
        return next((one for one in self.heads if one.sha == sha), Head(sha=sha))

    def having(self, head: Head) -> History:
        others = tuple(one for one in self.heads if one.sha != head.sha)
        return replace(self, heads=(*others, head)[-50:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How many repairs there may be for one commit and for one pull request."""

    per_head: int
    per_pull: int


@dataclass(frozen=True, slots=True)
class Green:
    """Nothing is red any more."""


@dataclass(frozen=True, slots=True)
class Rerun:
    checks: tuple[RedCheck, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    checks: tuple[RedCheck, ...]


@dataclass(frozen=True, slots=True)
class AskPerson:
    reason: str


Verdict = Green | Rerun | Repair | AskPerson


def kind_of(check: RedCheck) -> Kind:
    if "success" in check.here or _TRANSIENT.search(check.said):
        return Kind.FLAKY
    if check.on_base in RED:
        return Kind.INHERITED
    if check.on_base == "success" or check.said.strip():
        return Kind.REAL
    return Kind.UNCLEAR


def judge(red: Sequence[RedCheck], history: History, *, head: str, caps: Caps) -> Verdict:
    """One verdict for all checks that are red on ``head`` now."""
    if not red:
        return Green()
    tried = history.head(head)
    real = tuple(check for check in red if kind_of(check) is Kind.REAL)
    if real:
        if history.repairs >= caps.per_pull:
            return AskPerson(
                f"{_named(real)} failed again after {_times(history.repairs)} of repair on this pull request."
            )
        if tried.repairs >= caps.per_head:
            return AskPerson(f"{_named(real)} failed, and {_times(tried.repairs)} to repair it changed nothing.")
        return Repair(real)
    flaky = tuple(check for check in red if kind_of(check) is Kind.FLAKY)
    if flaky and tried.reruns < MAX_RERUNS:
        return Rerun(flaky)
    if flaky:
        return AskPerson(f"{_named(flaky)} failed again for reasons that look to be outside of the code.")
    inherited = tuple(check for check in red if kind_of(check) is Kind.INHERITED)
    if inherited:
        return AskPerson(f"{_named(inherited)} is red on the base branch, too: not this change made it fail.")
    return AskPerson(f"{_named(red)} failed without a word, and was never seen green.")


def counted(history: History, verdict: Verdict, *, head: str, run_id: RunId) -> History:
    """The history with what is about to be tried."""
    tried = history.head(head)
    match verdict:
        case Repair():
            after = history.having(replace(tried, repairs=tried.repairs + 1))
            return replace(after, repairs=history.repairs + 1, runs=(*history.runs, run_id)[-50:])
        case Rerun():
            return history.having(replace(tried, reruns=tried.reruns + 1))
        case _:
            return history


def _named(checks: Sequence[RedCheck]) -> str:
    shown = ", ".join(check.name[:80] for check in checks[:3])
    return shown if len(checks) <= 3 else f"{shown} and {len(checks) - 3} more"


def _times(count: int) -> str:
    return "one attempt" if count == 1 else f"{count} attempts"
