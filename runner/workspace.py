"""The private place of one run: made fresh, seen by nobody else, and gone afterwards.

::

    ROOT/RUN_ID.work/       0711: an agent that is a user of its own may pass through, not look around
    ├── git/    the supervisor's repository; the agent never reaches it
    ├── tree/   the agent's working copy, with a repository of its own in tree/.git
    ├── home/   the agent's HOME
    ├── tmp/    the agent's TMPDIR
    ├── out/    what the agent hands over besides the change
    └── lock    held as long as the process lives, so that what a crash left is recognised and removed
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.core.ids import RunId
from runner.removal import Leftover, remove
from runner.shielded import to_the_end

_NAME = re.compile(r"run-[0-9a-z]{26}\.[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folders of one run. All exist while the workspace does. ``own_tree``: ``tree`` is a person's own folder outside of it,
    which keeps its owner and its repository, and is never removed."""

    root: Path
    git: Path
    tree: Path
    home: Path
    tmp: Path
    out: Path
    own_tree: bool = False

    @property
    def names(self) -> dict[str, str]:
        """The folders whose paths an agent sees, by what they are."""
        return {"tree": str(self.tree), "home": str(self.home), "tmp": str(self.tmp)}


def _ignore(_leftovers: tuple[Leftover, ...]) -> None:
    return


@contextlib.asynccontextmanager
async def workspace(
    root: Path, run_id: RunId, *, on_leftovers: Callable[[tuple[Leftover, ...]], None] = _ignore
) -> AsyncIterator[Workspace]:
    """A fresh workspace below ``root``, removed at the end however that comes.

    Workspaces that a killed process left below ``root`` are removed first. What cannot be removed is given to
    ``on_leftovers`` and never hides the outcome of the run.
    """
    on_leftovers(await asyncio.to_thread(_prepare, root))
    made, lock = _make(root, run_id)
    try:
        yield made
    finally:
        await to_the_end(_close(made, lock, on_leftovers))


def _prepare(root: Path) -> tuple[Leftover, ...]:
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    return remove_abandoned(root)


async def _close(made: Workspace, lock: int, on_leftovers: Callable[[tuple[Leftover, ...]], None]) -> None:
    on_leftovers(await asyncio.to_thread(_remove, made.root))
    os.close(lock)


def remove_abandoned(root: Path) -> tuple[Leftover, ...]:
    """Removes the workspaces below ``root`` that no living process holds. Other folders there are left alone."""
    leftovers: list[Leftover] = []
    with _guarding(root):
        abandoned = [(folder, lock) for folder in _workspaces(root) if (lock := _take(folder)) is not None]
    for folder, lock in abandoned:
        leftovers += _remove(folder)
        os.close(lock)
    return tuple(leftovers)


def _make(root: Path, run_id: RunId) -> tuple[Workspace, int]:
    with _guarding(root):
        place = _fresh(root, run_id)
        place.chmod(0o711)
        lock = _take(place)
    assert lock is not None
    made = Workspace(
        root=place, git=place / "git", tree=place / "tree", home=place / "home", tmp=place / "tmp", out=place / "out"
    )
    for folder in (made.git, made.tree, made.home, made.tmp, made.out):
        folder.mkdir(mode=0o700)
    return made, lock


def _fresh(root: Path, run_id: RunId) -> Path:
    """The same path for each attempt where that is free: a conversation that is taken up speaks of paths."""
    place = root / f"{run_id}.work"
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        return Path(tempfile.mkdtemp(prefix=f"{run_id}.", dir=root))
    return place


@contextlib.contextmanager
def _guarding(root: Path) -> Iterator[None]:
    """Making a workspace and looking for abandoned ones exclude each other, so a newborn is never taken for dead."""
    guard = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def _workspaces(root: Path) -> Iterator[Path]:
    with os.scandir(root) as listing:
        for entry in listing:
            if entry.is_dir(follow_symlinks=False) and _NAME.fullmatch(entry.name):
                yield Path(entry.path)


def _take(folder: Path) -> int | None:
    """The lock of a workspace that nobody holds, now held by us; None when somebody lives there."""
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _remove(place: Path) -> tuple[Leftover, ...]:
    """The lock goes last: a removal that is killed half-way is found and finished by the next workspace."""
    leftovers: list[Leftover] = []
    try:
        for folder in place.iterdir():
            if folder.name != "lock":
                leftovers += remove(folder, parking=place)
        if not leftovers:
            (place / "lock").unlink(missing_ok=True)
            place.rmdir()
    except OSError as error:
        leftovers.append(Leftover(str(place), str(error)))
    return tuple(leftovers)
