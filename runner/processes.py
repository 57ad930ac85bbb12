"""Finding every process of an agent, and ending them all: by mark, by user, by descent.

A child may leave its process group, its session, its parent and its environment behind. It cannot leave all of these at
once: orphans fall to the box's keeper (``runner/keeper.py``), the mark is inherited through the environment, and a box with a
user of its own is known by that. Only the standard library is imported, and little of it: the keeper starts with every agent.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from infra.core.errors import Unavailable

MARK_VARIABLE = "PULLWRIGHT_BOX"

_LOOK_EVERY = 0.01
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


class ProcessesLeft(Unavailable):
    """Processes of an agent survived everything; nothing that relies on their end may follow."""

    default_code = "processes_left"


class Process(NamedTuple):
    """``started`` (clock ticks since boot) tells a process from a later one with the same number."""

    pid: int
    parent: int
    started: int


def prctl(option: int, value: int) -> None:
    """Raises ``OSError``. https://man7.org/linux/man-pages/man2/prctl.2.html"""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def become_subreaper() -> None:
    """Orphans among the descendants become children of this process instead of init's."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: signal.Signals) -> None:
    """The kernel sends ``number`` when the thread that made this process is gone. A change of user forgets it."""
    prctl(_PR_SET_PDEATHSIG, number)


def gain_no_privileges() -> None:
    """No program started from here on gets more rights by set-user-id or file capabilities."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Other processes of the same user can neither trace this one nor read its environment."""
    prctl(_PR_SET_DUMPABLE, 0)


def living() -> dict[int, Process]:
    """All processes that are not yet dead; zombies are."""
    found = {}
    with os.scandir("/proc") as entries:
        numbers = [int(entry.name) for entry in entries if entry.name.isdigit()]
    for pid in numbers:
        process = _read(pid)
        if process is not None:
            found[pid] = process
    return found


def _read(pid: int) -> Process | None:
    text = _bytes(pid, "stat")
    if not text:
        return None
    # the program's name may hold spaces and brackets: what counts stands behind the last one
    fields = text[text.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else Process(pid, int(fields[1]), int(fields[19]))


def _bytes(pid: int, file: str) -> bytes:
    """A file of ``/proc/PID``; empty when the process is gone or the file is closed to us."""
    parts = []
    try:
        descriptor = os.open(f"/proc/{pid}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(parts)


def mark_of(pid: int) -> str:
    """The box that the process belongs to by its environment; empty when there is none or it may not be read."""
    prefix = MARK_VARIABLE.encode() + b"="
    variables = _bytes(pid, "environ").split(b"\0")
    return next((each[len(prefix) :].decode("utf-8", "replace") for each in variables if each.startswith(prefix)), "")


def user_of(pid: int) -> int | None:
    """The real user; the owner of ``/proc/PID`` may be root's for a process that hides its memory."""
    lines = _bytes(pid, "status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(b"Uid:")), None)


def new_mark(box_id: str) -> str:
    """A mark that also tells who is responsible: this process, by number and start."""
    me = _read(os.getpid())
    assert me is not None
    return f"{box_id}:{me.pid}:{me.started}"


def is_stale(mark: str) -> bool:
    """Whether the process that made the mark is gone. A text that is no mark is not stale."""
    parts = mark.rsplit(":", 2)
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return False
    owner = _read(int(parts[1]))
    return owner is None or owner.started != int(parts[2])


def descendants(of: Iterable[int], among: dict[int, Process]) -> set[Process]:
    """All processes below the given ones, these not included."""
    children: dict[int, list[Process]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process)
    found: set[Process] = set()
    waiting = list(of)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child.pid)
    return found


def members(mark: str, user: int | None = None) -> set[Process]:
    """Every living process of the box: marked, of its own user, or below one of these. Never this process or its parents."""
    among = living()
    own = _lineage(among)
    roots = {
        process
        for pid, process in among.items()
        if pid not in own and (mark_of(pid) == mark or (user is not None and user_of(pid) == user))
    }
    return roots | {process for process in descendants((root.pid for root in roots), among) if process.pid not in own}


def strays() -> set[Process]:
    """Processes of boxes whose runner is gone. Those of a box that this process itself lives in are not meant."""
    among = living()
    own = _lineage(among)
    outer = mark_of(os.getpid())
    roots = {
        process
        for pid, process in among.items()
        if pid not in own and (mark := mark_of(pid)) and mark != outer and is_stale(mark)
    }
    return roots | {process for process in descendants((root.pid for root in roots), among) if process.pid not in own}


def _lineage(among: dict[int, Process]) -> set[int]:
    """This process and those above it."""
    found: set[int] = set()
    pid = os.getpid()
    while pid in among and pid not in found:
        found.add(pid)
        pid = among[pid].parent
    return found


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Signals those that are still the same processes."""
    for process in processes:
        now = _read(process.pid)
        if now is not None and now.started == process.started:
            try:
                os.kill(process.pid, number)
            except (ProcessLookupError, PermissionError):
                continue


def interrupt(find: Callable[[], set[Process]], *, above: int) -> None:
    """SIGINT to those that ``find`` finds, but the ``above`` topmost: these hold the box and must outlive its agent."""
    found = {process.pid: process for process in find()}
    generation = {pid for pid, process in found.items() if process.parent not in found}
    for _ in range(above):
        spared = generation
        generation = {pid for pid, process in found.items() if process.parent in spared}
        for pid in spared:
            found.pop(pid, None)
    send(found.values(), signal.SIGINT)


def end_all(find: Callable[[], set[Process]], *, grace: float, deadline: float, looks: int = 1) -> None:
    """Ends what ``find`` finds, until it finds nothing ``looks`` times: SIGTERM, ``grace`` seconds, then freeze and SIGKILL.

    Freezing first keeps a process that forks faster than it can be read from outrunning its end. One look at /proc can miss
    who forks and ends meanwhile, so where nothing surer tells that nobody is left, several are taken. Raises
    ``ProcessesLeft`` when something lives after ``deadline`` seconds.
    """
    started = time.monotonic()
    if grace > 0:
        send(find(), signal.SIGTERM)
        while find() and time.monotonic() < started + grace:
            time.sleep(_LOOK_EVERY)
    while left := next((found for _ in range(looks) if (found := find())), None):
        if time.monotonic() > started + deadline:
            numbers = ", ".join(str(process.pid) for process in sorted(left)[:10])
            raise ProcessesLeft(
                f"{len(left)} processes of the agent could not be ended (pid {numbers}).",
                hint="The run's result is not used. Restart the runner; on a laptop, end these processes by hand.",
            )
        frozen: set[Process] = set()
        while (moving := find() - frozen) and time.monotonic() < started + deadline:
            send(moving, signal.SIGSTOP)
            frozen |= moving
        send(frozen, signal.SIGKILL)
        time.sleep(_LOOK_EVERY)


async def kill_tree(
    find: Callable[[], set[Process]], *, grace: float = 2.0, deadline: float = 10.0, looks: int = 1
) -> None:
    """``end_all`` beside the event loop. A cancellation waits until the processes are gone."""
    import asyncio

    from runner.shielded import to_the_end

    await to_the_end(asyncio.to_thread(end_all, find, grace=grace, deadline=deadline, looks=looks))
