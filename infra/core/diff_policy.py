"""What may be published without a person's approval: a policy, and its judgement of a change. Pure.

Nothing here is about whether the change is *good*; that is for reviewers. It keeps from them what acts before they have
read it, what they cannot read because there is too much of it, and what the project has put out of bounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from infra.core.changes import ChangeKind, Changes, FileChange, FileType
from infra.core.protected_paths import matches
from infra.core.run import Reason

NAMED_PATHS = 10
"""Paths that a reason names before it says how many more there are."""

_LONGEST_PATH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffPolicy:
    """Limits are for one pull request.

    ``permitted``: globs of protected paths that this project lets its agent change. ``excluded``: globs of paths that it may
    never change. ``max_bytes_added``: growth of the files, binary ones counted whole.
    """

    permitted: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    max_files: int = 300
    max_lines_added: int = 20_000
    max_bytes_added: int = 10 << 20


@dataclass(frozen=True, slots=True)
class Allowed:
    pass


@dataclass(frozen=True, slots=True)
class Blocked:
    """``paths``: all that it is about; the reason's sentence names the first few."""

    reason: Reason
    paths: tuple[str, ...]


Verdict = Allowed | Blocked


def judge(changes: Changes, policy: DiffPolicy) -> Verdict:
    """Whether the change may become a pull request; the gravest objection if not."""
    submodules = _paths(file for file in changes.files if _adds_submodule(file))
    if submodules:
        return _blocked(
            "blocked_submodule",
            f"The change adds or moves {_named('a submodule', 'submodules', submodules)}.",
            "Submodules bring code that nobody has seen in this review: add them by hand, then start the run again.",
            submodules,
        )
    excluded = _paths(file for file in changes.files if matches(file.path, policy.excluded))
    if excluded:
        return _blocked(
            "blocked_excluded_path",
            f"The change touches {_named('a path', 'paths', excluded)} that this project keeps from agents.",
            "Ask for a change without it, or take the path out of the project's excluded paths.",
            excluded,
        )
    protected = tuple(path for path in changes.protected if not matches(path, policy.permitted))
    if protected:
        return _blocked(
            "blocked_protected_paths",
            f"The change touches {_named('a protected path', 'protected paths', protected)}. Such files act on others "
            "(CI, reviews, hooks, agents) before anybody reads them.",
            "Ask for the rest of the change without these files, or read it and apply it yourself.",
            protected,
        )
    return _judge_size(changes, policy)


def _judge_size(changes: Changes, policy: DiffPolicy) -> Verdict:
    hint = "Ask for smaller steps; let .gitignore name what tools generate."
    if changes.files_changed > policy.max_files:
        message = f"The change touches {changes.files_changed:,} files; a pull request may have {policy.max_files:,}."
        return _blocked("blocked_too_many_files", message, hint, _paths(changes.files))
    if changes.lines_added > policy.max_lines_added:
        message = f"The change adds {changes.lines_added:,} lines; a pull request may add {policy.max_lines_added:,}."
        return _blocked("blocked_too_large", message, hint, _largest(changes))
    if changes.bytes_added > policy.max_bytes_added:
        largest = _largest(changes)
        message = (
            f"The change adds {changes.bytes_added:,} bytes; a pull request may add {policy.max_bytes_added:,}. "
            f"The largest: {_listed(largest[:3])}."
        )
        return _blocked("blocked_too_large", message, hint, largest)
    return Allowed()


def digest(changes: Changes) -> str:
    """What an approval is bound to: the same for the same content on the same base, whoever commits it and when."""
    return hashlib.sha256(f"pullwright diff\n{changes.base_sha}\n{changes.tree_sha}\n".encode()).hexdigest()


def _adds_submodule(file: FileChange) -> bool:
    return file.type is FileType.SUBMODULE and file.kind is not ChangeKind.DELETED


def _paths(files: Iterable[FileChange]) -> tuple[str, ...]:
    return tuple(file.path for file in files)


def _largest(changes: Changes) -> tuple[str, ...]:
    return _paths(sorted(changes.files, key=lambda file: (-file.bytes_added, -file.lines_added, file.path)))


def _named(one: str, several: str, paths: tuple[str, ...]) -> str:
    return f"{one}: {_listed(paths)}" if len(paths) == 1 else f"{len(paths):,} {several}: {_listed(paths)}"


def _listed(paths: tuple[str, ...]) -> str:
    shown = [path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…" for path in paths[:NAMED_PATHS]]
    rest = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def _blocked(code: str, message: str, hint: str, paths: tuple[str, ...]) -> Blocked:
    return Blocked(Reason(code=code, message=message, hint=hint), paths)
