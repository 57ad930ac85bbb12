"""What a remote's refusal means: git's and GitHub's words → one of our errors. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from infra.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PullwrightError,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Upstream,
)


class Unreachable(Upstream):
    """No answer, or a broken one: worth another try."""

    default_code = "git_unreachable"


class MovedOn(Conflict):
    """The branch is not where the push expected it: somebody was first."""

    default_code = "branch_moved"


@dataclass(frozen=True, slots=True)
class _Meaning:
    words: re.Pattern[str]
    error: Callable[..., PullwrightError]
    code: str
    message: str
    hint: str


def _means(words: str, error: Callable[..., PullwrightError], code: str, message: str, hint: str) -> _Meaning:
    return _Meaning(re.compile(words, re.IGNORECASE), error, code, message, hint)


# First match wins: GitHub's own reasons come before the HTTP status that wraps them.
_MEANINGS = (
    _means(
        r"\(stale info\)|\(fetch first\)|\(non-fast-forward\)|cannot lock ref|failed to update ref|reference already exists",
        MovedOn,
        "branch_moved",
        "The branch changed while it was being pushed.",
        "Look at what it holds now, then push again.",
    ),
    _means(
        r"workflow.*without.*workflows?.*(permission|scope)",
        Forbidden,
        "workflow_permission",
        "GitHub refused the push because it changes a workflow file.",
        "Give the GitHub App the workflows permission, or ask for the change without touching .github/workflows.",
    ),
    _means(
        r"GH006|protected branch",
        Forbidden,
        "branch_protected",
        "A branch protection rule refused the push.",
        "Let the GitHub App push to claude/* branches, or exempt them from the rule.",
    ),
    _means(
        r"GH013|repository rule violations|push declined",
        Forbidden,
        "push_rules",
        "A repository rule refused the push.",
        "Read the rule's words; exempt claude/* from it if it should not hold there.",
    ),
    _means(
        r"shallow update not allowed",
        Upstream,
        "shallow_refused",
        "The remote refuses pushes from shallow clones.",
        "Let the remote accept them (receive.shallowUpdate); GitHub does.",
    ),
    _means(
        r"authentication failed|could not read (username|password)|invalid username or|returned error: 401",
        Unauthenticated,
        "git_unauthenticated",
        "The remote did not accept the token.",
        "The token has expired or the GitHub App was removed; start the run again.",
    ),
    _means(
        r"returned error: 403|permission to .* denied|write access to repository not granted|archived",
        Forbidden,
        "git_forbidden",
        "The remote does not let this token do that.",
        "Check that the GitHub App may write contents, and that the repository is not archived.",
    ),
    _means(
        r"couldn't find remote ref",
        NotFound,
        "ref_not_found",
        "The branch or tag is not on the remote.",
        "It may have been deleted or renamed since the run was asked for.",
    ),
    _means(
        r"not our ref|unadvertised object",
        NotFound,
        "commit_not_found",
        "The remote does not hand out that commit.",
        "The branch may have been force-pushed since the run was asked for.",
    ),
    _means(
        r"unable to update url base from redirection|redirects followed|returned error: 30[1278]",
        Upstream,
        "repository_moved",
        "The repository answers under another address; redirects are not followed with a token.",
        "It was renamed or moved: use its new name.",
    ),
    _means(
        r"returned error: 404|repository .* not found",
        NotFound,
        "repository_not_found",
        "The repository does not exist, or not for this token.",
        "Check that the GitHub App is still installed on it.",
    ),
    _means(
        r"returned error: 429",
        RateLimited,
        "rate_limited",
        "The remote asks to come back later.",
        "Try again in a minute.",
    ),
    _means(
        r"no space left",
        Unavailable,
        "disk_full",
        "The runner's disk is full.",
        "Give the runner more disk or memory.",
    ),
    _means(
        r"error in object|corruption on the remote side|fsck error|invalid index-pack|index-pack failed|bad object|unpack-objects failed",
        Invalid,
        "repository_malformed",
        "The repository holds objects that git considers dangerous or broken.",
        "Run git fsck on it; the words name the object.",
    ),
)


def refusal(command: str, words: str) -> PullwrightError:
    """The error for a failed ``git fetch`` or ``git push``; ``words`` (already cleaned) end its message."""
    for meaning in _MEANINGS:
        if meaning.words.search(words):
            return meaning.error(
                f"{meaning.message} It said: {_last_lines(words)}", code=meaning.code, hint=meaning.hint
            )
    return Unreachable(
        f"git {command} could not talk to the remote. It said: {_last_lines(words) or 'nothing'}",
        hint="Usually passing: try again. Check the runner's network if it stays.",
    )


def _last_lines(words: str, characters: int = 600) -> str:
    return " / ".join(words.split("\n"))[-characters:]
