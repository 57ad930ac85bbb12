"""What the agent left, as a commit: its files are read, its repository is not.

To be called after the agent's processes are dead. git looks at ``tree/`` only through the supervisor's repository, index
and configuration. ``.gitignore`` and the built-in attributes (line endings) of the working copy count as they would for
any contributor: the commit holds what an ordinary ``git add --all`` would have taken, and the ignore rules are part of
the reviewed change. Drivers and filters named by attributes do not exist here, since only configuration could define them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from infra.core.changes import ChangeKind, Changes, FileChange, FileType
from infra.core.clock import Instant
from infra.core.errors import Conflict, Invalid, TooLarge
from runner.git import Git, GitFailed, GitTimedOut
from runner.removal import remove
from runner.workspace import Workspace

_NO_MODE, _SUBMODULE = "000000", "160000"
_TYPES = {"100755": FileType.EXECUTABLE, "120000": FileType.SYMLINK, _SUBMODULE: FileType.SUBMODULE}
_KINDS = {"A": ChangeKind.ADDED, "D": ChangeKind.DELETED, "T": ChangeKind.RETYPED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a commit is by; for the bot ``ID+SLUG[bot]@users.noreply.github.com`` links it to the App."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectLimits:
    """``stored_bytes``: how much the agent's files may add to the repository, compressed."""

    seconds: float = 60.0
    stored_bytes: int = 512 << 20


async def collect(
    git: Git,
    workspace: Workspace,
    *,
    base_sha: str,
    limits: CollectLimits = CollectLimits(),
) -> Changes | None:
    """The changes of ``tree/`` against ``base_sha``, stored as a tree in the supervisor's repository; None when there are none.

    Ignored files, empty folders and permissions other than the executable bit are no changes to git, nor are commits that
    the agent made without changing a file. The agent's repository and whatever is no file, folder or link is removed from
    ``tree/`` first. Raises ``Conflict`` (``workspace_tampered``), ``TooLarge`` (``changes_too_large``) and ``Invalid``
    (``unpublishable_files``); a part of the change is never taken for the whole.
    """
    set_aside = await asyncio.to_thread(_disarm, workspace)
    await _stage(git, workspace, limits)
    tree_sha = (await git.local("write-tree", directory=workspace.git)).decode().strip()
    return await read_changes(git, workspace, base_sha=base_sha, tree_sha=tree_sha, set_aside=set_aside)


async def read_changes(
    git: Git, workspace: Workspace, *, base_sha: str, tree_sha: str, set_aside: tuple[str, ...] = ()
) -> Changes | None:
    """The difference between two commits or trees of the supervisor's repository; None when there is none."""
    told = await git.local(
        "diff-tree",
        "-r",
        "--raw",
        "--numstat",
        "--no-abbrev",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "-z",
        "--end-of-options",
        base_sha,
        tree_sha,
        directory=workspace.git,
    )
    files = await _with_sizes(git, workspace, tuple(_parse_diff(told)))
    return Changes(base_sha=base_sha, tree_sha=tree_sha, files=files, set_aside=set_aside) if files else None


async def commit(
    git: Git, workspace: Workspace, changes: Changes, *, message: str, identity: Identity, now: Instant
) -> str:
    """Makes the commit on top of the base and returns its SHA: the same for the same content, message, identity and second."""
    seconds = now // 1000
    return await commit_tree(
        git,
        workspace,
        changes.tree_sha,
        parent=changes.base_sha,
        message=message.encode(),
        identity=identity,
        seconds=seconds,
    )


async def commit_tree(
    git: Git, workspace: Workspace, tree: str, *, parent: str, message: bytes, identity: Identity, seconds: int
) -> str:
    """``seconds`` since 1970, of both dates."""
    moment = f"{seconds} +0000"
    env = {
        "GIT_AUTHOR_NAME": identity.name,
        "GIT_AUTHOR_EMAIL": identity.email,
        "GIT_AUTHOR_DATE": moment,
        "GIT_COMMITTER_NAME": identity.name,
        "GIT_COMMITTER_EMAIL": identity.email,
        "GIT_COMMITTER_DATE": moment,
    }
    made = await git.local("commit-tree", tree, "-p", parent, directory=workspace.git, stdin=message, env=env)
    return made.decode().strip()


def _disarm(workspace: Workspace) -> tuple[str, ...]:
    """Removes what git must not meet: repositories (it would read and run them) and pipes, sockets, devices (it would hang).

    Returns the paths, for people; the agent's own repository goes without mention. Files of a nested repository stay
    and become ordinary files of the change.
    """
    tree = workspace.tree
    if not stat.S_ISDIR(tree.lstat().st_mode) or not stat.S_ISDIR(workspace.git.lstat().st_mode):
        raise Conflict(
            "The working copy is not the folder it was.",
            code="workspace_tampered",
            hint="Nothing was published. Run the agent in a sandbox that keeps it inside its folder.",
        )
    removed: list[str] = []
    for entry in _dangerous(tree):
        leftovers = remove(Path(entry), parking=workspace.root)
        if leftovers:
            raise _unpublishable(f"{_shown(entry, tree)} cannot be removed: {leftovers[0].reason}")
        if entry != str(tree / ".git"):
            removed.append(_shown(entry, tree))
    return tuple(sorted(removed))


def _dangerous(tree: Path) -> Iterator[str]:
    waiting = [str(tree)]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(folder, tree):
            if entry.name.casefold() == ".git":
                yield entry.path
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
                yield entry.path


def _entries(folder: str, tree: Path) -> list[os.DirEntry[str]]:
    """Raises ``Invalid`` when a folder cannot be looked into even by its owner: what is not seen is not judged."""
    try:
        try:
            return list(os.scandir(folder))
        except PermissionError:
            Path(folder).chmod(stat.S_IRWXU)
            return list(os.scandir(folder))
    except OSError as error:
        reason = "its path is too long" if error.errno == errno.ENAMETOOLONG else str(error.strerror)
        raise _unpublishable(f"{_shown(folder, tree)[:200]} cannot be read: {reason}") from error


async def _stage(git: Git, workspace: Workspace, limits: CollectLimits) -> None:
    growth = _Growth(workspace.git / "objects", limits.stored_bytes)
    try:
        await git.local(
            "add", "--all", directory=workspace.git, tree=workspace.tree, seconds=limits.seconds, watch=growth.look
        )
    except GitTimedOut as error:
        raise _changes_too_large(f"git could not read it within {limits.seconds:.0f} seconds") from error
    except GitFailed as error:
        raise _unpublishable(f"git said: {error.words}") from error
    growth.check()


class _Growth:
    """Watches how much a repository's object folder grows; the look is not free, so it is taken once a second."""

    def __init__(self, objects: Path, limit: int) -> None:
        self._objects = objects
        self._limit = limit + self._size()
        self._next = time.monotonic() + 1

    def look(self) -> None:
        if time.monotonic() >= self._next:
            self.check()
            self._next = time.monotonic() + 1

    def check(self) -> None:
        if self._size() > self._limit:
            raise _changes_too_large("its files are over the limit even when compressed")

    def _size(self) -> int:
        total = 0
        for folder, _, files in os.walk(self._objects):
            for name in files:
                with contextlib.suppress(FileNotFoundError):  # git renames its temporary files
                    total += os.lstat(f"{folder}/{name}").st_size
        return total


async def _with_sizes(git: Git, workspace: Workspace, files: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
    names = sorted({name for file in files for name in (file.blob, file.base_blob) if name})
    if not names:
        return files
    told = await git.local(
        "cat-file",
        "--batch-check=%(objectname) %(objectsize)",
        directory=workspace.git,
        stdin="".join(f"{name}\n" for name in names).encode(),
    )
    sizes = {name: int(size) for name, size in (line.split(" ") for line in told.decode("ascii").splitlines())}
    return tuple(replace(file, size=sizes.get(file.blob, 0), base_size=sizes.get(file.base_blob, 0)) for file in files)


def _parse_diff(told: bytes) -> Iterator[FileChange]:
    """``--raw`` records (``:modes shas status<NUL>path<NUL>``), then as many of ``--numstat`` (``added<TAB>removed<TAB>path<NUL>``)."""
    fields = told.split(b"\0")[:-1]
    raw: list[tuple[str, bytes]] = []
    place = 0
    while place < len(fields) and fields[place].startswith(b":"):
        raw.append((fields[place].decode("ascii"), fields[place + 1]))
        place += 2
    for (meta, path), counted in zip(raw, fields[place:], strict=True):
        added, removed, _ = counted.split(b"\t", 2)
        old_mode, new_mode, old_sha, new_sha, status = meta.removeprefix(":").split(" ")
        same = old_sha == new_sha and status == "M"
        binary = added == b"-" and not same
        yield FileChange(
            path=path.decode("utf-8", "backslashreplace"),
            kind=ChangeKind.MODE if same else _KINDS.get(status, ChangeKind.MODIFIED),
            type=_TYPES.get(old_mode if new_mode == _NO_MODE else new_mode, FileType.FILE),
            lines_added=int(added) if added.isdigit() else 0,
            lines_removed=int(removed) if removed.isdigit() else 0,
            binary=binary,
            blob=_blob(new_mode, new_sha),
            base_blob=_blob(old_mode, old_sha),
        )


def _blob(mode: str, sha: str) -> str:
    return "" if mode in (_NO_MODE, _SUBMODULE) else sha


def _shown(path: str, tree: Path) -> str:
    return os.fsencode(os.path.relpath(path, tree)).decode("utf-8", "backslashreplace")


def _unpublishable(what: str) -> Invalid:
    return Invalid(
        f"The agent's files cannot be published: {what}.",
        code="unpublishable_files",
        hint="Usually an odd file name or a folder nested too deep that a command left behind; start the run again.",
    )


def _changes_too_large(what: str) -> TooLarge:
    return TooLarge(
        f"The agent left too much to publish: {what}.",
        code="changes_too_large",
        hint="Let the repository's .gitignore name build output, and ask for a smaller change.",
    )
