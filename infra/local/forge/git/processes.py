"""Runs git: exact arguments, a clean environment, bounded output and time, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

MAX_OUTPUT = 64 * 1024 * 1024
_TIMEOUT = 120.0
_CHUNK = 65_536

# Options for every git the forge runs; nothing depends on files in the repositories or on the machine's settings.
_CONFIG: Mapping[str, str] = {
    "http.receivepack": "true",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "receive.fsckObjects": "true",
    "receive.autogc": "false",
    "receive.hideRefs": "refs/pull",
    "gc.auto": "0",
    "core.quotePath": "false",
    "safe.directory": "*",
}


class GitFailed(Exception):
    """git ended with ``status``; ``words`` is what it said."""

    def __init__(self, command: str, status: int, words: str) -> None:
        super().__init__(f"git {command} ended with {status}: {words}")
        self.status = status
        self.words = words


class Git:
    """``home``: an empty folder git may take for the user's. ``hooks``: the folder of ``core.hooksPath``."""

    def __init__(self, *, home: Path, hooks: Path, path: str, executable: str = "git") -> None:
        self.executable = executable
        config = {**_CONFIG, "core.hooksPath": str(hooks)}
        self._environment = {
            "PATH": path,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_CONFIG_COUNT": str(len(config)),
        }
        for index, (name, value) in enumerate(config.items()):
            self._environment[f"GIT_CONFIG_KEY_{index}"] = name
            self._environment[f"GIT_CONFIG_VALUE_{index}"] = value
        self._running: set[asyncio.subprocess.Process] = set()
        self._slots = asyncio.Semaphore(32)

    async def run(
        self, directory: Path, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> bytes:
        """Standard output. Raises ``GitFailed`` for a non-zero end, too much output, or too much time."""
        async with self._slots:
            process = await self.start(directory, *arguments, environment=environment)
            try:
                async with asyncio.timeout(_TIMEOUT):
                    assert process.stdout is not None
                    assert process.stderr is not None
                    output, words, _ = await asyncio.gather(
                        _read(process.stdout), _read(process.stderr), _feed(process, stdin)
                    )
                    status = await process.wait()
            except (TimeoutError, OverflowError) as error:
                raise GitFailed(arguments[0], -1, f"stopped: {error or 'it took too long'}") from None
            finally:
                await self.end(process)
        if status:
            raise GitFailed(arguments[0], status, words.decode(errors="replace").strip())
        return output

    async def start(
        self, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """For streaming; the caller passes the process to ``end`` in any case."""
        process = await asyncio.create_subprocess_exec(
            self.executable,
            *arguments,
            cwd=directory,
            env={**self._environment, **(environment or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._running.add(process)
        return process

    @property
    def running(self) -> int:
        """How many git processes have not ended yet."""
        return len(self._running)

    async def end(self, process: asyncio.subprocess.Process) -> None:
        """Kills what still runs, with its children, and collects it."""
        if process.returncode is None:
            _kill(process)
            await process.wait()
        self._running.discard(process)

    async def close(self) -> None:
        for process in tuple(self._running):
            await self.end(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself in this moment
        return


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):  # git decided without reading it all; its status tells
        return


async def _read(stream: asyncio.StreamReader) -> bytes:
    parts, size = [], 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > MAX_OUTPUT:
            raise OverflowError(f"more than {MAX_OUTPUT} bytes of output")
        parts.append(chunk)
    return b"".join(parts)
