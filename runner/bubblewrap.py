"""The sandbox driver ``bubblewrap``: an agent in namespaces of its own, with nothing of the machine but its programs.

::

    runner ── sh (launcher) ▸ box_start ▸ keeper ── bwrap ── bwrap (PID 1 inside) ── door ── agent ── …

(▸ is the same process.) The whole agent lives inside, not only its shell. It has no network at all: each door is a unix
socket that is bound in, and ``door.py`` forwards a port of the box's own loopback to it.

A runner that is root makes the agent a user that nothing else on the machine is; for any other, the agent is the runner's user
outside, and a namespace keeps the two apart. Either way it is user 1000 inside, unless the box names another.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import runner
from infra.core.errors import Unavailable
from runner import box_layout, box_start, processes
from runner.processes import Process
from runner.sandbox import Box, Wall, free_user, give, no_such_box
from runner.seccomp import system_call_filter

INSIDE_USER = 1000

_NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
_SETUP_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
_END_SECONDS = 10.0
_ABOVE_THE_AGENT = 4  # the keeper, bubblewrap outside and inside, the door


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    """``outer``: the user that the agent is on the machine when it has one of its own."""

    uid: int
    gid: int
    outer: int | None


class BubblewrapSandbox:
    """Needs bubblewrap 0.5 or newer and a kernel that lets the runner's user make user namespaces; ``self_test`` knows."""

    name = "bubblewrap"

    def __init__(self, directory: Path, *, program: Path | None = None, toolchains: tuple[Path, ...] = ()) -> None:
        """``directory`` holds the launchers and must be closed to others. ``program`` is bwrap, by default the one on the
        PATH. ``toolchains``: folders besides ``/usr`` that every box can read. Raises ``Unavailable`` without bwrap."""
        found = program or shutil.which("bwrap")
        if sys.platform != "linux" or found is None:
            raise Unavailable(
                "bubblewrap is not installed." if sys.platform == "linux" else "bubblewrap needs Linux.",
                code="sandbox_unavailable",
                hint="Install it: apt-get install bubblewrap (or the same package of your distribution).",
            )
        self._program = Path(found)
        self._directory = directory
        self._toolchains = toolchains
        self._filter = system_call_filter()
        self._marks: dict[str, str] = {}
        self._users: dict[str, int] = {}

    def walls(self, box: Box | None = None) -> tuple[Wall, ...]:  # noqa: ARG002 - every box is alike
        own = os.geteuid() == 0
        return (
            Wall(name="environment", up=True, why="The agent inherits no variable of the runner."),
            Wall(name="lifetime", up=True, why="Every process of the agent ends with it, and with the runner."),
            Wall(name="privileges", up=True, why="The agent has no capability, and no program gains rights."),
            Wall(
                name="user",
                up=True,
                why="The agent is a user of its own."
                if own
                else "The agent is the runner's user on the machine, in a namespace from which it reaches nothing of it.",
            ),
            Wall(name="memory", up=True, why="The agent cannot trace or read any process outside the box."),
            Wall(name="files", up=True, why="The agent sees programs, read-only, and its own three folders."),
            Wall(name="processes", up=True, why="The agent sees no process but its own."),
            Wall(name="network", up=True, why="The agent reaches nothing but the doors it was given."),
            Wall(
                name="kernel",
                up=self._filter is not None,
                why="System calls that an agent never needs are refused."
                if self._filter
                else "No filter of system calls is known for this processor; namespaces and lost capabilities remain.",
            ),
        )

    async def launcher(self, box: Box, program: Path) -> Path:
        for each in box.doors:
            if each.socket is None:
                raise Unavailable(
                    f"The box has no network, and the door on port {each.port} has no socket to be bound in.",
                    code="sandbox_unavailable",
                    hint="Give the service a unix socket.",
                )
        if box.uid == 0 or box.gid == 0:
            raise Unavailable(
                "An agent in a box is never root.",
                code="sandbox_unavailable",
                hint="Ask for another user, such as 1000.",
            )
        return await asyncio.to_thread(self._launcher, box, program)

    async def interrupt(self, box: Box) -> None:
        if (mark := self._marks.get(box.id)) is not None:
            await asyncio.to_thread(processes.interrupt, lambda: processes.members(mark), above=_ABOVE_THE_AGENT)

    async def destroy(self, box: Box) -> None:
        mark = self._marks.get(box.id)
        if mark is None:
            return
        belongings = _Belongings(mark, self._users.get(box.id))
        await processes.kill_tree(belongings.living, grace=0, deadline=_END_SECONDS)
        await asyncio.to_thread(self._forget, box)

    def _forget(self, box: Box) -> None:
        self._path(box).unlink(missing_ok=True)
        shutil.rmtree(self._files(box), ignore_errors=True)
        self._marks.pop(box.id, None)
        self._users.pop(box.id, None)

    def _path(self, box: Box) -> Path:
        return self._directory / f"launch-{box.id}"

    def _files(self, box: Box) -> Path:
        return self._directory / f"box-{box.id}"

    def _launcher(self, box: Box, program: Path) -> Path:
        mark = self._marks.setdefault(box.id, processes.new_mark(box.id))
        inside = self._settle_user(box)
        if inside.outer is not None:
            for folder in box.owned_folders:
                give(folder, inside.outer, inside.outer)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write_files(box, program, inside)
        path = self._path(box)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700), "w") as file:
            file.write(self._script(box, mark, inside))
        return path

    def _settle_user(self, box: Box) -> _Inside:
        outer = None
        if box.beside:
            if box.beside not in self._marks:
                raise no_such_box(box)
            outer = self._users.get(box.beside)
        elif os.geteuid() == 0 and not box.own_tree:
            outer = free_user(box.id, taken=set(self._users.values()))
            self._users[box.id] = outer
        uid = INSIDE_USER if box.uid is None else box.uid
        return _Inside(uid=uid, gid=uid if box.gid is None else box.gid, outer=outer)

    def _write_files(self, box: Box, program: Path, inside: _Inside) -> None:
        folder = self._files(box)
        folder.mkdir(mode=0o700)
        etc = folder / "etc"
        etc.mkdir()
        for name, text in box_layout.etc_files(uid=inside.uid, gid=inside.gid, home=box.home).items():
            (etc / name).write_text(text)
            (etc / name).chmod(0o644)
        arguments = [
            *self._namespaces(inside),
            *box_layout.mounts(box, program, etc, self._toolchains),
            "--clearenv",
        ]
        (folder / "arguments").write_bytes(b"".join(os.fsencode(each) + b"\0" for each in arguments))
        orders = {
            "program": str(box_layout.inside_program(program)),
            "directory": str(box.tree),
            "environment": dict(box.environment),
            "doors": [(each.port, box_layout.inside_socket(each.port)) for each in box.doors],
            "uid": None if inside.outer is None else inside.uid,
            "gid": None if inside.outer is None else inside.gid,
            "processes": box.limits.processes,
        }
        with os.fdopen(os.open(folder / "orders", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            marshal.dump(orders, file)
        if self._filter:
            (folder / "filter").write_bytes(self._filter)

    def _namespaces(self, inside: _Inside) -> list[str]:
        arguments = [*_NAMESPACES, "--hostname", box_layout.HOSTNAME, "--die-with-parent", "--new-session"]
        arguments += ["--cap-drop", "ALL"]
        if inside.outer is None:
            arguments += ["--unshare-user", "--uid", str(inside.uid), "--gid", str(inside.gid), "--disable-userns"]
        else:
            arguments += ["--userns", str(box_start.USERS_FD)]
            arguments += [part for each in _SETUP_CAPABILITIES for part in ("--cap-add", each)]
        if self._filter:
            arguments += ["--seccomp", str(box_start.FILTER_FD)]
        return arguments

    def _script(self, box: Box, mark: str, inside: _Inside) -> str:
        options = {"memory": box.limits.memory_bytes, "file": box.limits.file_bytes}
        if inside.outer is not None:
            options |= {"inner_uid": inside.uid, "inner_gid": inside.gid}
            options |= {"outer_uid": inside.outer, "outer_gid": inside.outer}
        words = [
            *("/usr/bin/env", "-i", f"{processes.MARK_VARIABLE}={mark}"),
            *(sys.executable, "-I", "-S", "-c", box_start.PROGRAM),
            str(Path(runner.__file__).parents[1]),
            *(f"{name}={value}" for name, value in options.items()),
            *("--", str(self._program), str(box_layout.own_python()[0]), str(self._files(box))),
        ]
        return f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'


class _Belongings:
    """The processes of a box: by mark, user and descent as of every box, and by the process namespaces these live in."""

    def __init__(self, mark: str, user: int | None) -> None:
        self._mark = mark
        self._user = user
        self._namespaces: set[str] = set()
        self._ours = _process_namespace(os.getpid())

    def living(self) -> set[Process]:
        found = processes.members(self._mark, self._user)
        self._namespaces |= {_process_namespace(process.pid) for process in found} - {"", self._ours}
        if self._namespaces:
            found |= {each for each in processes.living().values() if _process_namespace(each.pid) in self._namespaces}
        return found


def _process_namespace(pid: int) -> str:
    """Empty when the process is gone or not ours to look at."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""
