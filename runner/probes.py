"""What an agent would try first, tried inside a throw-away box before any agent is let into one.

A program of its own (``runner/self_test.py`` hands its text to an interpreter in the box, with the targets as argument):
standard library only. It prints a JSON list of (what was tried, what came of it); an empty second part means that a wall held.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable

_CLONE_NEWUSER = 0x10000000
_SECONDS = 0.3


def main(argument: str) -> None:
    targets = json.loads(argument)
    targets["canary"] = "".join(targets["canary"])  # in pieces, because these arguments can be read as well
    tries = {
        "metadata address": lambda: _connect(("169.254.169.254", 80)),
        "metadata name": lambda: _resolve("metadata.google.internal"),
        "another host": lambda: _route("192.0.2.1"),
        "another host by IPv6": lambda: _route("2001:db8::1"),
        "the machine's loopback": lambda: _connect(("127.0.0.1", targets["port"])),
        "an abstract socket": lambda: _connect(f"\0{targets['abstract']}"),
        "the virtual machine's host": _vsock,
        "another process": lambda: _process(targets["pid"], targets["canary"]),
        "another process's environment": lambda: _proc("environ", targets["canary"]),
        "another process's arguments": lambda: _proc("cmdline", targets["canary"]),
        "own environment": lambda: _contains(_read("/proc/self/environ"), targets["canary"]),
        "a private file": lambda: _read(targets["private"]),
        "a public file": lambda: _read(targets["public"]),
        "a folder": lambda: " ".join(os.listdir(targets["folder"])),  # noqa: PTH208 - no pathlib for one word
        "writing outside": lambda: _write(f"{targets['folder']}/probe"),
        "writing to the system": lambda: _write("/usr/pullwright-probe") or _write("/etc/pullwright-probe"),
        "being root": _root,
        "capabilities": _capabilities,
        "a new user namespace": lambda: _call(lambda libc: libc.unshare(_CLONE_NEWUSER)),
        "mounting": lambda: _call(lambda libc: libc.mount(b"none", targets["tmp"].encode(), b"tmpfs", 0, None)),
    }
    print(json.dumps([(name, _outcome(attempt)) for name, attempt in tries.items()]))  # noqa: T201 - its way of speaking


def _outcome(attempt: Callable[[], str]) -> str:
    try:
        return attempt() or ""
    except (OSError, UnicodeError):
        return ""


def _connect(address: tuple[str, int] | str) -> str:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(address)
    return "connected"


def _resolve(name: str) -> str:
    return str(socket.getaddrinfo(name, 80)[0][4][0])


def _route(address: str) -> str:
    """Whether there is a way to it; nothing is sent."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((address, 9))
        return f"there is a route from {connection.getsockname()[0]}"


def _vsock() -> str:
    with socket.socket(socket.AF_VSOCK):
        return "there is a socket to it"


def _process(pid: int, canary: str) -> str:
    os.kill(pid, 0)
    # the number may be that of a process inside
    return f"process {pid} takes signals" if _contains(_read(f"/proc/{pid}/cmdline"), canary) else ""


def _proc(file: str, canary: str) -> str:
    for pid in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - as above
        try:
            if _contains(_read(f"/proc/{pid}/{file}"), canary):
                return f"/proc/{pid}/{file} shows it"
        except OSError:
            continue
    return ""


def _contains(text: str, canary: str) -> str:
    return "found" if canary in text else ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no pathlib for one word
        return file.read() or "empty"


def _write(path: str) -> str:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return ""
    os.unlink(path)  # noqa: PTH108 - no pathlib for one word
    return f"{path} was written"


def _root() -> str:
    if os.getuid() == 0:
        return "it is root"
    os.setuid(0)
    return "it became root"


def _capabilities() -> str:
    lines = [line.split() for line in _read("/proc/self/status").splitlines()]
    status = {words[0]: words[1] for words in lines if len(words) > 1}
    found = [f"{name}{status[name]}" for name in ("CapPrm:", "CapEff:", "CapAmb:") if int(status[name], 16)]
    if status["NoNewPrivs:"] != "1":
        found.append("programs may gain privileges")
    return ", ".join(found)


def _call(system_call: Callable[[ctypes.CDLL], int]) -> str:
    return "allowed" if system_call(ctypes.CDLL(None, use_errno=True)) == 0 else ""


if __name__ == "__main__":
    main(sys.argv[1])
