"""Between the launcher and the keeper: opens what bubblewrap reads and, as root, makes the box's users.

A root runner's box has two users: its own root, which is the machine's and only sets the box up, and the agent, which is a user
that nothing else on the machine is. bubblewrap can map one user only, so the namespace is made here and handed to it.
"""

from __future__ import annotations

import os
import sys

from runner.keeper import keep

TYPE_CHECKING = False  # importing typing takes longer than all that this program does
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from runner.box_start import main; main(sys.argv[1:])"
"""For ``python -I -S -c PROGRAM FOLDER OPTION=NUMBER… -- BWRAP PYTHON BOX ARGUMENT…``; FOLDER is where the packages are, BOX
where the box's files."""

DOOR = "/run/box/door.py"
USERS_FD, ARGUMENTS_FD, ORDERS_FD, FILTER_FD = 20, 21, 22, 23

_CLONE_NEWUSER = 0x10000000
_MAPPING_OPTIONS = ("inner_uid", "inner_gid", "outer_uid", "outer_gid")


def main(arguments: Sequence[str]) -> NoReturn:
    split = arguments.index("--")
    options = {name: int(value) for name, _, value in (each.partition("=") for each in arguments[:split])}
    bwrap, python, box, *agent_arguments = arguments[split + 1 :]
    mapping = [options.pop(name) for name in _MAPPING_OPTIONS if name in options]
    if mapping:
        _hand_down(_users(*mapping), USERS_FD)
    for name, number in (("arguments", ARGUMENTS_FD), ("orders", ORDERS_FD), ("filter", FILTER_FD)):
        path = f"{box}/{name}"
        if os.path.exists(path):  # noqa: PTH110 - as below
            _hand_down(os.open(path, os.O_RDONLY), number)
    argv = [bwrap, "--args", str(ARGUMENTS_FD), "--", python, "-I", "-S", DOOR, str(ORDERS_FD), *agent_arguments]
    sys.exit(keep(options, argv))


def _hand_down(descriptor: int, number: int) -> None:
    os.dup2(descriptor, number, inheritable=True)
    os.close(descriptor)


def _users(inner_uid: int, inner_gid: int, outer_uid: int, outer_gid: int) -> int:
    """A new user namespace in which no further ones can be made, as a descriptor.

    https://man7.org/linux/man-pages/man7/user_namespaces.7.html
    """
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(from_child)
        os.close(to_child)
        _inhabit(to_parent, from_parent)
    os.close(to_parent)
    os.close(from_parent)
    try:
        _expect_ready(from_child, "The kernel does not let this user make user namespaces.")
        _write(f"/proc/{child}/uid_map", f"0 0 1\n{inner_uid} {outer_uid} 1\n")
        _write(f"/proc/{child}/gid_map", f"0 0 1\n{inner_gid} {outer_gid} 1\n")
        os.write(to_child, b"+")
        _expect_ready(from_child, "The box's user namespace could not be closed to further ones.")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    finally:
        os.close(from_child)
        os.close(to_child)  # which ends the child
        os.waitpid(child, 0)


def _inhabit(to_parent: int, from_parent: int) -> NoReturn:
    """Keeps the namespace alive until its descriptor is taken."""
    import ctypes

    try:
        if ctypes.CDLL(None).unshare(_CLONE_NEWUSER) == 0:
            os.write(to_parent, b"+")
            os.read(from_parent, 1)
            _write("/proc/sys/user/max_user_namespaces", "0")
            os.write(to_parent, b"+")
            os.read(from_parent, 1)
    finally:
        os._exit(0)


def _expect_ready(from_child: int, otherwise: str) -> None:
    if os.read(from_child, 1) != b"+":
        sys.exit(otherwise)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib takes longer to import than this program to run
        file.write(text)
