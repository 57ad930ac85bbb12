"""Child processes of the local supervisor: started with a log file, watched, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.core.errors import Unavailable

READY_SECONDS = 30.0
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What child programs take over from the shell besides their settings."""

STOP_SECONDS = 12.0
"""As on Cloud Run: SIGTERM, ten seconds, SIGKILL (and a little)."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@dataclass(slots=True)
class Child:
    """One program of the stack. ``environment`` is all it gets: nothing is inherited but what is named."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=dict(self.environment),
                # a group of its own: Ctrl-C reaches the supervisor only, which then stops the children in order
                start_new_session=True,
                preexec_fn=_die_with_parent if _LIBC else None,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL to the whole group when it does not listen."""
        if self.process is None:
            return
        if self.running:
            _signal_group(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self.process.wait()
        _signal_group(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log, for an error message."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def died(child: Child) -> Unavailable:
    return Unavailable(
        f"{child.name} stopped while starting. The end of its log:\n{child.tail()}",
        code="child_died",
        hint=f"The whole log: {child.log}",
    )


async def answers(child: Child, url: str) -> None:
    """Returns once ``url`` answers. Raises ``Unavailable`` with the end of the child's log when it dies or stays silent."""
    deadline = time.monotonic() + READY_SECONDS
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
        while time.monotonic() < deadline:
            if not child.running:
                raise died(child)
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code < 500:
                    return
            await asyncio.sleep(0.03)
    raise Unavailable(
        f"{child.name} did not answer {url} within {READY_SECONDS:.0f} seconds.\n{child.tail()}",
        code="child_silent",
        hint=f"The whole log: {child.log}",
    )


def _die_with_parent() -> None:
    """The kernel ends the child when the supervisor is gone, even by SIGKILL. https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html"""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
