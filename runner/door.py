"""Inside the box, between bubblewrap and the agent: opens the doors, gives up what is left of root, starts the agent.

::

    bwrap (PID 1 of the box) ── this ── agent ── whatever it starts

A program of its own, bound into the box as one file and run with ``python -I -S door.py DESCRIPTOR ARGUMENT…``: it imports
the standard library only, and little of it. The descriptor holds its orders in marshal's form, so that none of the agent's
environment – which may name libraries to load – counts before the agent's rights are what they will be. When the agent
ends, this ends with its status, and with this the box.
"""

from __future__ import annotations

import _socket
import _thread
import marshal
import os
import resource
import sys
import time

TYPE_CHECKING = False  # importing typing, json or socket takes longer than all that this program does before the agent
if TYPE_CHECKING:
    from typing import Any, NoReturn

_CHUNK = 64 * 1024
_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION = 0x20080522


def main(arguments: list[str]) -> NoReturn:
    with os.fdopen(int(arguments[0]), "rb") as file:
        orders = marshal.load(file)  # noqa: S302 - written by the driver, for this very interpreter
    os.closerange(3, 256)
    listeners = [(_listen(port), path) for port, path in orders["doors"]]
    if orders["uid"] is not None:
        _become(orders["uid"], orders["gid"])
    agent = os.fork()
    if agent == 0:
        _start(orders, arguments[1:])
    for listener, path in listeners:
        _thread.start_new_thread(_serve, (listener, path))
    _, status = os.waitpid(agent, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(uid: int, gid: int) -> None:
    """From the box's root, which exists only to set it up, to the agent's user; with no way back."""
    import ctypes

    libc = ctypes.CDLL(None)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) != 0:
        os._exit(126)


def _start(orders: dict[str, Any], arguments: list[str]) -> NoReturn:
    try:
        limit = orders["processes"]
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        os.chdir(orders["directory"])
        os.execve(orders["program"], [orders["program"], *arguments], orders["environment"])  # noqa: S606 - no shell to avoid
    except (OSError, ValueError) as error:
        os.write(2, f"The agent could not be started: {error}\n".encode())
    os._exit(126)


def _listen(port: int) -> _socket.socket:
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


def _serve(listener: _socket.socket, path: str) -> None:
    while True:
        try:
            number, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - undocumented; socket.accept calls it
            inside = _socket.socket(fileno=number)
            _thread.start_new_thread(_join, (inside, path))
        except (OSError, RuntimeError):  # out of descriptors or memory for the moment
            time.sleep(0.05)


def _join(inside: _socket.socket, path: str) -> None:
    outside = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        inside.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        outside.connect(path)
        _thread.start_new_thread(_pump, (outside, inside))
    except OSError:
        inside.close()
        outside.close()
        return
    _pump(inside, outside)


def _pump(source: _socket.socket, target: _socket.socket) -> None:
    """One direction, until its end; the other one may go on. A broken connection breaks both."""
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    try:
        while size := source.recv_into(buffer):
            target.sendall(view[:size])
        target.shutdown(_socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            try:
                each.shutdown(_socket.SHUT_RDWR)
            except OSError:
                continue


if __name__ == "__main__":
    main(sys.argv[1:])
