"""The walls around an agent: a port, and the driver for machines that have none to offer.

A driver turns a ``Box`` into a launcher, an executable file that runs a program inside the box with the launcher's own
arguments and pipes. Whoever drives the agent starts the launcher as if it were the agent and needs to know no more.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import stat
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import runner
from infra.core.errors import Unavailable
from runner import keeper, processes

GIB = 1024**3
_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLimits:
    """``processes`` counts threads too and holds only for a box with its own user; ``memory_bytes`` is for each process
    (Claude Code needs 1 GiB to start); ``file_bytes`` for each file."""

    processes: int = 2048
    memory_bytes: int = 8 * GIB
    file_bytes: int = 8 * GIB


def box_limits(memory_bytes: int) -> BoxLimits:
    """With what a project asks for; 0 for nothing. More than the runner's own limit is not given."""
    limits = BoxLimits()
    return replace(limits, memory_bytes=min(memory_bytes or limits.memory_bytes, limits.memory_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A service outside the box: inside, 127.0.0.1:``port`` must lead to it.

    A driver whose box shares the machine's network has nothing to do: the service listens there. One without any network
    binds ``socket`` into the box and runs a forwarder from the port to it.
    """

    port: int
    socket: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What one agent gets. ``environment`` is all of its environment; ``tree`` is where it works.

    ``uid``/``gid``: the user to be; None leaves the choice to the driver. ``id`` is unique among live boxes.
    ``beside``: the id of a launched box whose tree and user this one shares; the tree's owner stays as it is, and ending
    this box leaves the other one alone. ``own_tree``: the tree is a person's own, keeps its owner, and its ``.git`` is not to be
    written where the driver can see to that; the box then has the runner's user.
    ``readable``: folders of programs that this box can read besides the machine's own.
    """

    id: str
    tree: Path
    home: Path
    tmp: Path
    environment: Mapping[str, str] = field(repr=False)
    uid: int | None = None
    gid: int | None = None
    limits: BoxLimits = field(default_factory=BoxLimits)
    doors: tuple[Door, ...] = ()
    beside: str = ""
    own_tree: bool = False
    readable: tuple[Path, ...] = ()

    @property
    def owned_folders(self) -> tuple[Path, ...]:
        """Those that the box's user is made the owner of."""
        return (self.home, self.tmp) if self.beside else (self.tree, self.home, self.tmp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """One protection and whether it stands; ``why`` says what it keeps apart, or what its absence means."""

    name: str
    up: bool
    why: str


class Sandbox(Protocol):
    name: str

    def walls(self, box: Box | None = None) -> tuple[Wall, ...]:
        """What protects and what does not, for an honest printout; with a box, as it is for that box once launched."""
        ...

    async def launcher(self, box: Box, program: Path) -> Path:
        """Prepares the box and writes its launcher, outside everything the agent can reach.

        Raises ``Unavailable`` when the box cannot be made as asked for; nothing runs less protected than asked.
        """
        ...

    async def interrupt(self, box: Box) -> None:
        """SIGINT to what the agent's program and its children are, as Ctrl-C would; who ignores it lives on."""
        ...

    async def destroy(self, box: Box) -> None:
        """Ends every process of the box and forgets it; a box that was never launched is fine.

        Returns only when none is left, cancelled or not. Raises ``ProcessesLeft`` when one survives everything.
        """
        ...


def wall_words(sandbox: Sandbox, box: Box) -> str:
    """One line on what protects this box and what does not."""
    walls = sandbox.walls(box)
    up = ", ".join(wall.name for wall in walls if wall.up)
    missing = " ".join(f"No {wall.name} wall: {wall.why}" for wall in walls if not wall.up)
    return f"Sandbox {sandbox.name}: {up or 'nothing'} protected. {missing}".rstrip()


# systemd's range for users that live as long as a service: no person and no package has one of them.
# https://systemd.io/UIDS-GIDS/
_FIRST_UID, _LAST_UID = 61184, 65519

_ABOVE_THE_AGENT = 1  # the keeper


class PlainSandbox:
    """The driver ``none``: clean environment, own session, limits, sure death, and a user of its own where that is possible.

    It does not hide files, other processes or the network. A user of its own needs root, and folders above the box and
    the program that others may pass through; where that is missing the agent stays the runner's user, and the walls say so.
    """

    name = "none"

    def __init__(self, directory: Path, *, own_user: bool = True) -> None:
        """``directory`` holds the launchers and must be closed to others. ``own_user`` False keeps the runner's user."""
        self._directory = directory
        self._own_user = own_user
        self._users: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        self._marks: dict[str, str] = {}

    def walls(self, box: Box | None = None) -> tuple[Wall, ...]:
        same = self._why_same_user()
        if box is not None:
            same = self._reasons.get(box.id, same)
        return (
            Wall(name="environment", up=True, why="The agent inherits no variable of the runner."),
            Wall(name="lifetime", up=True, why="Every process of the agent ends with it, and with the runner."),
            Wall(name="privileges", up=True, why="No program gains rights by set-user-id."),
            Wall(
                name="user",
                up=not same,
                why=same or "The agent is a user of its own and cannot signal the runner.",
            ),
            Wall(
                name="memory",
                up=not same or os.geteuid() != 0,
                why="The agent cannot trace the runner or read its memory and environment."
                if not same or os.geteuid() != 0
                else "The agent is root as the runner is: it can read the runner's memory.",
            ),
            Wall(name="files", up=False, why="The agent can read whatever its user can read on this machine."),
            Wall(name="processes", up=False, why="The agent can see the other processes of this machine."),
            Wall(name="network", up=False, why="The agent can reach every host that this machine can reach."),
        )

    async def launcher(self, box: Box, program: Path) -> Path:
        if sys.platform != "linux":
            raise Unavailable(
                f"The sandbox driver {self.name} needs Linux: processes of an agent are traced through /proc.",
                code="sandbox_unavailable",
                hint="Run the runner in a Linux container or virtual machine.",
            )
        return await asyncio.to_thread(self._launcher, box, program)

    async def interrupt(self, box: Box) -> None:
        if (mark := self._marks.get(box.id)) is not None:
            await asyncio.to_thread(processes.interrupt, lambda: processes.members(mark), above=_ABOVE_THE_AGENT)

    async def destroy(self, box: Box) -> None:
        mark = self._marks.get(box.id)
        if mark is None:
            return
        user = self._users.get(box.id)
        belongings = partial(processes.members, mark, user)
        await processes.kill_tree(belongings, grace=keeper.TERM_SECONDS + 0.5, looks=_LOOKS)
        await asyncio.to_thread(self._path(box).unlink, missing_ok=True)
        for kept in (self._marks, self._users, self._reasons):
            kept.pop(box.id, None)

    def _path(self, box: Box) -> Path:
        return self._directory / f"launch-{box.id}"

    def _launcher(self, box: Box, program: Path) -> Path:
        user = self._shared_user(box) if box.beside else self._settle_user(box, program)
        mark = self._marks.setdefault(box.id, processes.new_mark(box.id))
        options = {"memory": box.limits.memory_bytes, "file": box.limits.file_bytes}
        if user is not None:
            uid, gid = user
            if not box.beside:
                self._users[box.id] = uid
            options |= {"uid": uid, "gid": gid, "processes": box.limits.processes}
            for folder in box.owned_folders:
                give(folder, uid, gid)
        elif os.geteuid() != 0:
            processes.hide_memory()  # the same user could otherwise read the model key out of this process
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(box)
        text = _script({**box.environment, processes.MARK_VARIABLE: mark}, options, program)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700), "w") as file:
            file.write(text)
        return path

    def _shared_user(self, box: Box) -> tuple[int, int] | None:
        """Uid and gid of the box that this one is beside, None for the runner's own."""
        if box.beside not in self._marks:
            raise no_such_box(box)
        uid = self._users.get(box.beside)
        return None if uid is None else (uid, uid)

    def _settle_user(self, box: Box, program: Path) -> tuple[int, int] | None:
        """Uid and gid for the box, None for the runner's own."""
        asked = box.uid
        reason = self._why_same_user() or ("The agent works on a person's own files." if box.own_tree else "")
        uid = asked if asked is not None else free_user(box.id, taken=set(self._users.values()))
        if not reason and (closed := _closed_to_others((box.tree, box.home, box.tmp), program)):
            reason = f"The agent runs as the runner's user: others may not pass through {closed}."
        if reason and asked is not None and asked != os.geteuid():
            raise Unavailable(
                f"The agent cannot run as user {asked}. {reason}",
                code="sandbox_unavailable",
                hint="Start the runner as root with its workspace in a folder that others may pass through (mode 0711).",
            )
        self._reasons[box.id] = reason
        return None if reason else (uid, box.gid if box.gid is not None else uid)

    def _why_same_user(self) -> str:
        if not self._own_user:
            return "The agent runs as the runner's user, as configured: it can signal the runner."
        if os.geteuid() != 0:
            return "The agent runs as the runner's user, which is not root: it can signal the runner."
        return ""


async def end_strays() -> int:
    """Ends what boxes of runners that are gone left behind, and says how many processes that were.

    Called when a runner starts. Raises ``ProcessesLeft``.
    """
    found = await asyncio.to_thread(processes.strays)
    if found:
        await processes.kill_tree(processes.strays, grace=0)
    return len(found)


def _script(environment: Mapping[str, str], options: Mapping[str, int], program: Path) -> str:
    packages = Path(runner.__file__).parents[1]
    words = [
        "/usr/bin/env",
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        sys.executable,
        "-I",
        "-S",
        "-c",
        keeper.PROGRAM,
        str(packages),
        *(f"{name}={value}" for name, value in options.items()),
        "--",
        str(program),
    ]
    return f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'


def free_user(box_id: str, *, taken: set[int]) -> int:
    """A user that nothing on this machine is, so that all its processes are the box's."""
    busy = taken | {processes.user_of(pid) for pid in processes.living()}
    size = _LAST_UID - _FIRST_UID + 1
    start = zlib.crc32(box_id.encode())
    for step in range(size):
        uid = _FIRST_UID + (start + step) % size
        if uid not in busy:
            return uid
    raise Unavailable("No free user number is left for an agent.", code="sandbox_unavailable")


def no_such_box(box: Box) -> Unavailable:
    return Unavailable(
        f"There is no box {box.beside} to be beside.", code="sandbox_unavailable", hint="The agent is not at work now."
    )


def _closed_to_others(folders: tuple[Path, ...], program: Path) -> Path | None:
    """The first folder above the box or the program that another user may not pass through."""
    above = [parent for folder in folders for parent in folder.resolve().parents]
    above += program.resolve().parents
    return next((folder for folder in above if not folder.stat().st_mode & 0o001), None)


def give(folder: Path, uid: int, gid: int) -> None:
    """Makes the user the owner of everything in the folder; links themselves, never what they point to.

    A file with a second name elsewhere (git links objects between repositories on one disk) becomes a copy first:
    the other name must not change hands.
    """
    os.chown(folder, uid, gid, follow_symlinks=False)
    for place, folders, files in os.walk(folder):
        for name in files:
            _part_from_other_names(f"{place}/{name}")
        for name in (*folders, *files):
            os.chown(f"{place}/{name}", uid, gid, follow_symlinks=False)


def _part_from_other_names(path: str) -> None:
    known = os.lstat(path)
    if stat.S_ISREG(known.st_mode) and known.st_nlink > 1:
        own = Path(f"{path}.{os.urandom(6).hex()}")
        shutil.copy2(path, own, follow_symlinks=False)
        own.replace(path)
