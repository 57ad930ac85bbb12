"""A small program of ours inside a box: for what must happen over the agent's files, as the agent's user, behind its walls.

What the supervisor itself would read there could be moved under its hands, by a link to anywhere on the machine; inside a box
there is no anywhere. The program is one file of the standard library's Python, handed over as text.
"""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

from runner.box_layout import own_python
from runner.removal import remove
from runner.sandbox import Box, Sandbox
from runner.shielded import to_the_end

Take = Callable[[bytes], Awaitable[None]]

ENV = Path("/usr/bin/env")
_PIECE = 64 * 1024


def helper_path(path: str) -> str:
    """The PATH of a helper's box: this program's own Python first."""
    return f"{own_python()[0].parent}:{path}"


@asynccontextmanager
async def scratch_in(root: Path) -> AsyncIterator[Path]:
    """A folder with ``home`` and ``tmp`` for one box, gone afterwards."""
    scratch = await asyncio.to_thread(_make, root)
    try:
        yield scratch
    finally:
        await asyncio.to_thread(remove, scratch, parking=root)


def _make(root: Path) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=root))
    scratch.chmod(0o711)
    for name in ("home", "tmp"):
        (scratch / name).mkdir(mode=0o700)
    return scratch


async def run_helper(
    sandbox: Sandbox, box: Box, program: ModuleType, arguments: Sequence[str], *, seconds: float, out: Take, err: Take
) -> int:
    """Its exit code, once no process of the box is left. ``box.environment`` needs ``helper_path`` as its PATH.

    Raises ``TimeoutError`` after ``seconds``, ``Unavailable`` when the box cannot be made, and what ``out`` and ``err`` raise.
    """
    try:
        launcher = await sandbox.launcher(box, ENV)
        process = await asyncio.create_subprocess_exec(
            launcher,
            *("python3", "-I", "-S", "-c", inspect.getsource(program), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=box.tree,
            start_new_session=True,
        )
        async with asyncio.timeout(seconds):
            return await _followed(process, out, err)
    finally:
        await to_the_end(sandbox.destroy(box))


async def _followed(process: asyncio.subprocess.Process, out: Take, err: Take) -> int:
    """Reads both streams to their ends. When this breaks off, the process' own end is the box's matter."""
    assert process.stdout is not None
    assert process.stderr is not None
    reading = [asyncio.ensure_future(_read(process.stdout, out)), asyncio.ensure_future(_read(process.stderr, err))]
    try:
        await asyncio.gather(*reading)
        return await process.wait()
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _read(stream: asyncio.StreamReader, take: Take) -> None:
    while piece := await stream.read(_PIECE):
        await take(piece)
