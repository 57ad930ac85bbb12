"""Which system calls an agent does without, as a filter that the kernel runs before each call.

The namespaces keep the agent apart; this takes away the calls with which a namespace would be left, made or attacked, and
the one way out that no network namespace closes: ``AF_VSOCK`` speaks to a virtual machine's host.
https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

# Classic BPF, as in linux/bpf_common.h
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000

# Offsets in struct seccomp_data; of an argument only the low half counts for what is looked at here.
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24

_X32_BIT = 0x40000000
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together."""

_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (read by everything that lists interfaces)."""

_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX put characters into a terminal's input."""

# Numbers since 424 are the same on every architecture.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """``audit``: AUDIT_ARCH of linux/audit.h. ``refused``: calls that are never needed, by name for the reader."""

    audit: int
    clone: int
    clone3: int
    socket: int
    ioctl: int
    refused: Mapping[str, int] = field(repr=False)


_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        clone=56,
        clone3=435,
        socket=41,
        ioctl=16,
        refused=_COMMON
        | {
            "ptrace": 101,
            "syslog": 103,
            "pivot_root": 155,
            "chroot": 161,
            "acct": 163,
            "mount": 165,
            "umount2": 166,
            "swapon": 167,
            "swapoff": 168,
            "reboot": 169,
            "init_module": 175,
            "delete_module": 176,
            "quotactl": 179,
            "kexec_load": 246,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "unshare": 272,
            "perf_event_open": 298,
            "open_by_handle_at": 304,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "kcmp": 312,
            "finit_module": 313,
            "kexec_file_load": 320,
            "bpf": 321,
            "userfaultfd": 323,
        },
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        clone=220,
        clone3=435,
        socket=198,
        ioctl=29,
        refused=_COMMON
        | {
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "quotactl": 60,
            "acct": 89,
            "unshare": 97,
            "kexec_load": 104,
            "init_module": 105,
            "delete_module": 106,
            "syslog": 116,
            "ptrace": 117,
            "reboot": 142,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "swapon": 224,
            "swapoff": 225,
            "perf_event_open": 241,
            "open_by_handle_at": 265,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "kcmp": 272,
            "finit_module": 273,
            "bpf": 280,
            "userfaultfd": 282,
            "kexec_file_load": 294,
        },
    ),
}


def system_call_filter(machine: str | None = None) -> bytes | None:
    """The filter for ``machine`` (as ``uname -m`` names it; None for this one) as ``bwrap --seccomp`` reads it.

    None for a machine whose call numbers are not known here. Calls of a foreign architecture do not exist behind it.
    """
    known = _MACHINES.get(machine or platform.machine())
    return None if known is None else b"".join(_filter(known))


def _filter(machine: _Machine) -> list[bytes]:
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, machine.audit, yes=1),
        _refuse(errno.ENOSYS),
        _step(_LOAD, _NUMBER),
        _step(_JUMP_AT_LEAST, _X32_BIT, no=1),
        _refuse(errno.ENOSYS),
        # the flags of clone3 are behind a pointer, where no filter can look; without it everybody uses clone
        _step(_JUMP_EQUAL, machine.clone3, no=1),
        _refuse(errno.ENOSYS),
    ]
    for number in sorted(machine.refused.values()):
        steps += [_step(_JUMP_EQUAL, number, no=1), _refuse(errno.EPERM)]
    steps += _when(
        machine.clone,
        [
            _step(_LOAD, _FIRST),
            _step(_JUMP_ANY_BIT, _NEW_NAMESPACES, no=1),
            _refuse(errno.EPERM),
            _step(_RETURN, _ALLOW),
        ],
    )
    families = [_step(_JUMP_EQUAL, family, yes=len(_FAMILIES) - at) for at, family in enumerate(_FAMILIES)]
    steps += _when(
        machine.socket,
        [_step(_LOAD, _FIRST), *families, _refuse(errno.EAFNOSUPPORT), _step(_RETURN, _ALLOW)],
    )
    asked = [part for code in _TERMINAL_INPUT for part in (_step(_JUMP_EQUAL, code, no=1), _refuse(errno.EPERM))]
    steps += _when(machine.ioctl, [_step(_LOAD, _SECOND), *asked, _step(_RETURN, _ALLOW)])
    return [*steps, _step(_RETURN, _ALLOW)]


def _when(call: int, steps: list[bytes]) -> list[bytes]:
    """The steps for one call, skipped by all others; their last one returns."""
    return [_step(_JUMP_EQUAL, call, no=len(steps)), *steps]


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; ``yes`` and ``no`` are how many of the following a comparison skips."""
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _REFUSE | number)
