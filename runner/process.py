"""One program, run to its end with bounds: its own process group, a deadline, bounded output, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PIECE = 64 * 1024
_LOOK_EVERY = 0.05
_STDERR_KEPT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """``code`` is negative for a signal. ``stdout`` is empty when a sink took it; of ``stderr`` the last 64 KiB are kept."""

    code: int
    stdout: bytes
    stderr: bytes


class OutOfTime(Exception):
    """The program did not end within its seconds; its whole process group was killed."""


async def run_process(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes = b"",
    seconds: float,
    sink: Callable[[bytes], None] | None = None,
    watch: Callable[[], None] | None = None,
) -> Finished:
    """Runs ``argv`` (never through a shell) with exactly ``env``.

    ``sink`` is given stdout as it comes; ``watch`` is called every 50 ms and at the end. What either raises ends the program and is
    raised here. Raises ``OutOfTime``. However this ends, cancellation included, no process of the group is left.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,  # a group of its own, and no terminal that could be asked for a password
    )
    assert process.stdout is not None
    assert process.stderr is not None
    kept, said = bytearray(), bytearray()
    work = [
        asyncio.ensure_future(_drain(process.stdout, sink or kept.extend)),
        asyncio.ensure_future(_drain(process.stderr, lambda piece: _keep_last(said, piece))),
        asyncio.ensure_future(process.wait()),
    ]
    if process.stdin is not None:
        work.append(asyncio.ensure_future(_feed(process.stdin, stdin)))
    try:
        await _finish(work, seconds, watch)
    finally:
        if not all(part.done() for part in work):
            await _stop(process, work)
    assert process.returncode is not None
    return Finished(code=process.returncode, stdout=bytes(kept), stderr=bytes(said))


async def _finish(work: Sequence[asyncio.Future[Any]], seconds: float, watch: Callable[[], None] | None) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        left = deadline - loop.time()
        if left <= 0:
            raise OutOfTime
        done, pending = await asyncio.wait(
            work, timeout=min(left, _LOOK_EVERY) if watch else left, return_when=asyncio.FIRST_EXCEPTION
        )
        for part in done:
            part.result()
        if watch:
            watch()
        if not pending:
            return


async def _stop(process: asyncio.subprocess.Process, work: Sequence[asyncio.Future[Any]]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for part in work:
        part.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    assert process.stdout is not None
    assert process.stderr is not None
    # wait() waits for the pipes too, and a full one that nobody reads never ends
    await asyncio.gather(_drain(process.stdout, _discard), _drain(process.stderr, _discard), process.wait())


async def _drain(stream: asyncio.StreamReader, sink: Callable[[bytes], object]) -> None:
    while piece := await stream.read(_PIECE):
        sink(piece)


def _discard(_piece: bytes) -> None:
    return


def _keep_last(said: bytearray, piece: bytes) -> None:
    said.extend(piece)
    del said[:-_STDERR_KEPT]


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    # a program that stops reading says why on stderr and by its exit code
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()
