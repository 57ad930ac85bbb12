"""Cloning as a supervisor may: one commit, nothing that acts, bounded in time and size; then a copy for the agent.

The agent's repository is a copy, not a view: no object, configuration or reference of the supervisor's is shared with
it, and nothing that happens to it is ever read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.core.errors import Invalid, TooLarge
from infra.core.repository import is_sha
from runner.git import Git, GitFailed, GitTimedOut, Remote
from runner.refusals import Unreachable
from runner.workspace import Workspace

BASE_REF = "refs/pullwright/base"

PAUSES = (0.5, 2.0)
"""Seconds before the second and the third try when the remote could not be reached."""

_SUPERVISOR_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_AGENT_CONFIG = (
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
    "[user]\n\tname = Agent\n\temail = agent@localhost\n"  # so that stash works; the published commit has its own author
    "[gc]\n\tauto = 0\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneLimits:
    """What a repository may cost: ``pack_bytes`` as transferred, ``tree_bytes`` and ``files`` (folders too) as checked out."""

    seconds: float = 300.0
    pack_bytes: int = 1 << 30
    tree_bytes: int = 2 << 30
    files: int = 300_000


async def clone(
    git: Git,
    workspace: Workspace,
    remote: Remote,
    *,
    base_sha: str,
    branch: str,
    limits: CloneLimits = CloneLimits(),
    pauses: Sequence[float] = PAUSES,
) -> None:
    """Fetches ``base_sha``, checks it out into ``tree/`` and gives the agent a repository of its own on ``branch``.

    Raises what ``fetch_base`` raises, ``TooLarge`` (``repo_too_large``) before anything is checked out, and ``Invalid``
    (``checkout_failed``) when the tree cannot be laid out on this file system.
    """
    await fetch_base(git, workspace, remote, base_sha=base_sha, limits=limits, pauses=pauses)
    with _naming_timeout(limits):
        await _measure(git, workspace, base_sha, limits)
        copying = asyncio.ensure_future(asyncio.to_thread(_give_repository, workspace, base_sha, branch))
        try:
            await _check_out(git, workspace, base_sha, limits)
        finally:
            await copying  # a thread cannot be stopped, and must not write into a workspace that is being removed
    # the index knows the files' stat data: git status in the agent's copy reads no file
    await asyncio.to_thread(shutil.copyfile, workspace.git / "index", workspace.tree / ".git" / "index")


async def fetch_base(
    git: Git,
    workspace: Workspace,
    remote: Remote,
    *,
    base_sha: str,
    limits: CloneLimits = CloneLimits(),
    pauses: Sequence[float] = PAUSES,
) -> None:
    """Fills the supervisor's repository with exactly the commit ``base_sha``, asked for by name and so never another.

    Every remote hands out the tip of a branch this way; GitHub any commit that a branch or tag reaches. Raises ``NotFound``
    (``commit_not_found``), ``TooLarge`` (``repo_too_large``), ``GitTimedOut`` (``clone_timed_out``), ``Invalid``
    (``repository_malformed``) and the remote's other refusals (``runner/refusals.py``).
    """
    if not is_sha(base_sha) or len(base_sha) != 40:
        raise Invalid("The base commit is not a full SHA-1 name.", code="invalid_base")
    _lay_out(workspace.git, head="refs/heads/none", config=_SUPERVISOR_CONFIG)
    deadline = time.monotonic() + limits.seconds
    with _naming_timeout(limits):
        await patiently(lambda: _fetch(git, workspace.git, remote, base_sha, deadline=deadline, limits=limits), pauses)


async def patiently(attempt: Callable[[], Awaitable[None]], pauses: Sequence[float]) -> None:
    """Repeats what is safe to repeat while the remote cannot be reached, after each of ``pauses`` (seconds)."""
    for pause in pauses:
        try:
            return await attempt()
        except Unreachable:
            await asyncio.sleep(pause)
    return await attempt()


async def _fetch(
    git: Git, directory: Path, remote: Remote, base_sha: str, *, deadline: float, limits: CloneLimits
) -> None:
    packs = directory / "objects" / "pack"
    for broken in packs.glob("tmp_*"):
        broken.unlink()

    def watch() -> None:
        if _size(packs) > limits.pack_bytes:
            raise _too_large(f"more than {limits.pack_bytes:,} bytes to transfer")

    await git.transport(
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        "--no-auto-maintenance",
        "--end-of-options",
        remote.url,
        f"+{base_sha}:{BASE_REF}",
        directory=directory,
        remote=remote,
        seconds=_left(deadline),
        watch=watch,
    )


async def _measure(git: Git, workspace: Workspace, base_sha: str, limits: CloneLimits) -> None:
    """Adds up what the checkout will be, and stops at the first figure over a limit: a tree bomb is never walked to its end."""
    tally = _Tally(limits)
    await git.local(
        "ls-tree",
        "-r",
        "-t",
        "-l",
        "-z",
        "--full-tree",
        base_sha,
        directory=workspace.git,
        seconds=limits.seconds,
        sink=tally.add,
    )


class _Tally:
    """Counts the records of ``git ls-tree -l -z`` as they come: ``mode type sha size<TAB>path<NUL>``."""

    def __init__(self, limits: CloneLimits) -> None:
        self._limits = limits
        self._rest = b""
        self._files = 0
        self._bytes = 0

    def add(self, piece: bytes) -> None:
        *records, self._rest = (self._rest + piece).split(b"\0")
        self._files += len(records)
        for record in records:
            size = record.partition(b"\t")[0].rsplit(b" ", 1)[-1]
            self._bytes += int(size) if size.isdigit() else 0
        if self._files > self._limits.files:
            raise _too_large(f"more than {self._limits.files:,} files and folders")
        if self._bytes > self._limits.tree_bytes:
            raise _too_large(f"more than {self._limits.tree_bytes:,} bytes checked out")


async def _check_out(git: Git, workspace: Workspace, base_sha: str, limits: CloneLimits) -> None:
    try:
        await git.local(
            "read-tree",
            "--reset",
            "-u",
            base_sha,
            directory=workspace.git,
            tree=workspace.tree,
            seconds=limits.seconds,
        )
    except GitFailed as error:
        raise Invalid(
            f"The repository's files cannot be laid out here. git said: {error.words}",
            code="checkout_failed",
            hint="Usually a file name that is too long or that git refuses; the words name it.",
        ) from error


def _give_repository(workspace: Workspace, base_sha: str, branch: str) -> None:
    own = workspace.tree / ".git"
    _lay_out(own, head=f"refs/heads/{branch}", config=_AGENT_CONFIG)
    reference = own / "refs" / "heads" / branch
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(f"{base_sha}\n")
    if (workspace.git / "shallow").exists():
        shutil.copyfile(workspace.git / "shallow", own / "shallow")
    for pack in (workspace.git / "objects" / "pack").iterdir():
        shutil.copyfile(pack, own / "objects" / "pack" / pack.name)


def _lay_out(directory: Path, *, head: str, config: str) -> None:
    """An empty repository, without a process and without templates. https://git-scm.com/docs/gitrepository-layout"""
    (directory / "objects" / "pack").mkdir(parents=True, exist_ok=True)
    (directory / "refs" / "heads").mkdir(parents=True, exist_ok=True)
    (directory / "HEAD").write_text(f"ref: {head}\n")
    (directory / "config").write_text(config)


def _size(folder: Path) -> int:
    total = 0
    with os.scandir(folder) as listing:
        for entry in listing:
            with contextlib.suppress(FileNotFoundError):  # git renames its temporary files
                total += entry.stat(follow_symlinks=False).st_size
    return total


@contextlib.contextmanager
def _naming_timeout(limits: CloneLimits) -> Iterator[None]:
    try:
        yield
    except GitTimedOut as error:
        raise GitTimedOut(
            f"The repository could not be cloned within {limits.seconds:.0f} seconds.",
            code="clone_timed_out",
            hint="Raise the runner's clone limits, or look at the network between the runner and the remote.",
        ) from error


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _too_large(what: str) -> TooLarge:
    return TooLarge(
        f"The repository is too large for a run: {what}.",
        code="repo_too_large",
        hint="Raise the runner's clone limits and its disk, or split the repository.",
    )
