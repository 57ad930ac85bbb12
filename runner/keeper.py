"""The process between the runner and its agent: gives up rights, starts the agent, and lets nothing outlive it.

::

    runner ── keeper (subreaper) ── agent ── its shells, their children, and whoever of these tried to get away

Orphans of the agent become the keeper's children, whatever session or group they moved to. When the agent ends, when the
keeper is asked to stop, and when the runner is gone, the keeper ends all of them, then itself. It runs as a program of its
own, without site packages, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from runner import processes
from runner.processes import Process

PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from runner.keeper import main; main(sys.argv[1:])"
"""For ``python -I -S -c PROGRAM FOLDER OPTION=NUMBER… -- AGENT ARGUMENT…``; FOLDER is where the packages are."""

TERM_SECONDS = 2.0
"""What an agent that is asked to stop gets for ending its tools and saving its session."""

_KILL_SECONDS = 8.0
_LOOKS = 1_000
_LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "memory": resource.RLIMIT_DATA,
    "file": resource.RLIMIT_FSIZE,
}
_ENDS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_AWAITED = _ENDS | {signal.SIGCHLD}


def main(arguments: Sequence[str]) -> NoReturn:
    split = arguments.index("--")
    options = {name: int(value) for name, _, value in (each.partition("=") for each in arguments[:split])}
    sys.exit(keep(options, arguments[split + 1 :]))


def keep(options: Mapping[str, int], argv: Sequence[str]) -> int:
    """Runs the agent and returns its exit status (128 + n for signal n) once no process below is left."""
    parent = os.getppid()
    with contextlib.suppress(PermissionError):  # already the first of its group
        os.setsid()
    processes.become_subreaper()
    processes.die_with_parent(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    agent = os.fork()
    if agent == 0:
        _become(options, argv)
    _let_go_of_pipes()
    status = _watch(agent, parent)
    processes.end_all(_below, grace=0, deadline=_KILL_SECONDS)
    _reap()
    return status


def _become(options: Mapping[str, int], argv: Sequence[str]) -> NoReturn:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would be a copy of memory in the tree
        for name, limit in _LIMITS.items():
            if name in options:
                resource.setrlimit(limit, (options[name], options[name]))
        if "uid" in options:
            os.setgroups([])
            os.setresgid(options["gid"], options["gid"], options["gid"])
            os.setresuid(options["uid"], options["uid"], options["uid"])
        processes.gain_no_privileges()
        processes.die_with_parent(signal.SIGKILL)
        os.execv(argv[0], list(argv))  # noqa: S606 - there is no shell to avoid
    except OSError as error:
        os.write(2, f"The agent could not be started: {error}\n".encode())
    os._exit(126)


def _let_go_of_pipes() -> None:
    """The runner must see the agent's end of file, not ours. Standard error stays open for last words."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)


def _watch(agent: int, parent: int) -> int:
    """Until the agent has ended, by itself or because it is time."""
    deadline: float | None = None
    while True:
        status = _reap().get(agent)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        received = signal.sigtimedwait(_AWAITED, 0.5 if deadline is None else 0.05)
        asked = received is not None and received.si_signo in _ENDS
        if deadline is None and (asked or os.getppid() != parent):
            deadline = time.monotonic() + TERM_SECONDS
            os.kill(agent, signal.SIGTERM)
        elif deadline is not None and time.monotonic() > deadline:
            os.kill(agent, signal.SIGKILL)


def _below() -> set[Process]:
    """All processes of the agent; empty only when there are none.

    One look at /proc can miss whoever forks and ends while it is being read, for ever. But orphans become this process's children,
    so the kernel's own "no child" says that nobody is left, and nothing else does.
    """
    for _ in range(_LOOKS):
        _reap()
        found = processes.descendants([os.getpid()], processes.living())
        if found or not _has_children():
            return found
    raise processes.ProcessesLeft("Processes of the agent live that cannot be seen.", hint="Restart the runner.")


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _reap() -> dict[int, int]:
    """Exit statuses of the children that ended."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended
