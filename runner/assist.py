"""Help from afar: a terminal of this machine, shared through tmate, for as long as the run lasts.

It is the person's own terminal, outside the agent's box, and only ever opened by that person. tmate connects to its service and
names the address under which the terminal can be joined. https://tmate.io
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from infra.core.errors import Invalid, Unavailable
from runner.removal import remove

KIND = "tmate"

_SECONDS = 30.0
_ADDRESS = re.compile(r"ssh (?:-p ?\d{1,5} )?[A-Za-z0-9._@-]{1,200}|https://[A-Za-z0-9._/-]{1,200}")


def check_address(text: str) -> str:
    """Raises ``Invalid`` for what is no address of a shared terminal: it is shown to people as something to follow."""
    if _ADDRESS.fullmatch(text) is None:
        raise Invalid("That is not the address of a shared terminal.", code="invalid_assist", hint="tmate gives one.")
    return text


def find_tmate(path: str) -> Path:
    """Raises ``Unavailable`` with what to install."""
    found = shutil.which("tmate", path=path)
    if found is None:
        raise Unavailable(
            "tmate is not installed.",
            code="tmate_missing",
            hint="Install it: apt-get install tmate, or brew install tmate. It reads ~/.tmate.conf where there is one.",
        )
    return Path(found)


@asynccontextmanager
async def shared_terminal(tmate: Path, folder: Path, environment: Mapping[str, str]) -> AsyncIterator[str]:
    """The address of a terminal in ``folder``, open in the background until the context is left.

    Raises ``Unavailable`` when tmate cannot open one.
    """
    place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="pw-assist-"))
    base = [str(tmate), "-S", str(place / "socket")]
    try:
        await _run([*base, "new-session", "-d"], folder, environment)
        await _run([*base, "wait", "tmate-ready"], folder, environment)
        yield check_address((await _run([*base, "display", "-p", "#{tmate_ssh}"], folder, environment)).strip())
    finally:
        await _end([*base, "kill-server"], folder, environment)
        await asyncio.to_thread(remove, place, parking=place.parent)


async def _run(argv: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise _failed(f"it did not connect within {_SECONDS:.0f} seconds") from None
    if process.returncode:
        raise _failed(complaint.decode("utf-8", "replace").strip()[:300] or f"exit code {process.returncode}")
    return said.decode("utf-8", "replace")


async def _end(argv: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    try:
        await _run(argv, folder, environment)
    except Unavailable:
        return  # there was nothing to end


def _failed(why: str) -> Unavailable:
    return Unavailable(
        f"tmate could not open a terminal: {why}.",
        code="tmate_failed",
        hint="Check the network, and ~/.tmate.conf if there is one.",
    )
