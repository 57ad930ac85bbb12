"""Whether a sandbox does what it says: tried, on this machine, before the first run."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.core.errors import PullwrightError
from runner import probes
from runner.box_layout import own_python
from runner.sandbox import Box, Sandbox
from runner.shielded import to_the_end

_SECONDS = 15.0
_SHELL = Path("/bin/sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Something that must fail inside a box, and whether it did; ``evidence`` says what it found otherwise."""

    name: str
    held: bool
    evidence: str = ""


async def self_test(sandbox: Sandbox) -> tuple[Probe, ...]:
    """Tries the walls of ``sandbox`` from inside a throw-away box. A box that does not start is a probe that found something."""
    with tempfile.TemporaryDirectory(prefix="pullwright-box-") as name:
        bait, place = _folders(Path(name))
        try:
            async with _bait(bait) as (targets, canary):
                return await _try(sandbox, place, targets, canary)
        except PullwrightError as error:
            return (Probe(name="starting a box", held=False, evidence=f"{error.message} {error.hint}".strip()),)


def _folders(place: Path) -> tuple[Path, Path]:
    """One for what is outside, and one for the box."""
    bait, box = place / "outside", place / "box"
    bait.mkdir(mode=0o755)
    box.mkdir()
    place.chmod(0o711)  # what others may read must not be closed to them by the way to it
    return bait, box


@asynccontextmanager
async def _bait(place: Path) -> AsyncIterator[tuple[dict[str, object], str]]:
    """What there is to be found outside: a process, files, sockets; and the word by which they are known."""
    canary = f"canary-{secrets.token_hex(8)}"
    for file, mode in (("private", 0o600), ("public", 0o644)):
        (place / file).write_text(canary)
        (place / file).chmod(mode)
    with ExitStack() as sockets:
        port = sockets.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        abstract = sockets.enter_context(socket.socket(socket.AF_UNIX))
        name = f"pullwright-{secrets.token_hex(8)}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        victim = await asyncio.create_subprocess_exec(
            _SHELL,
            *("-c", "read line", canary),
            env={"CANARY": canary},
            stdin=asyncio.subprocess.PIPE,
        )
        try:
            yield (
                {
                    "canary": [canary[:9], canary[9:]],
                    "port": port,
                    "abstract": name,
                    "pid": victim.pid,
                    "private": str(place / "private"),
                    "public": str(place / "public"),
                    "folder": str(place),
                },
                canary,
            )
        finally:
            victim.kill()
            await victim.wait()


async def _try(sandbox: Sandbox, place: Path, targets: dict[str, object], canary: str) -> tuple[Probe, ...]:
    for name in ("tree", "home", "tmp"):
        (place / name).mkdir(mode=0o700)
    box = Box(
        id=f"self-test-{secrets.token_hex(6)}",
        tree=place / "tree",
        home=place / "home",
        tmp=place / "tmp",
        environment={"PATH": os.defpath, "HOME": str(place / "home"), "TMPDIR": str(place / "tmp")},
    )
    try:
        launcher = await sandbox.launcher(box, _SHELL)
        process = await asyncio.create_subprocess_exec(
            launcher,
            *("-c", 'exec "$@"', "sh", str(own_python()[0]), "-I", "-S", "-c"),
            *(inspect.getsource(probes), json.dumps(targets | {"tmp": str(box.tmp)})),
            cwd=box.tree,
            env={"CANARY": canary},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return await _heard(process)
    finally:
        await to_the_end(sandbox.destroy(box))


async def _heard(process: asyncio.subprocess.Process) -> tuple[Probe, ...]:
    said = b""
    try:
        async with asyncio.timeout(_SECONDS):
            output, said = await process.communicate()
        told = json.loads(output)
    except TimeoutError:
        evidence = f"It was not done after {_SECONDS:.0f} seconds."
        return (Probe(name="starting a box", held=False, evidence=evidence),)
    except ValueError:
        words = said.decode(errors="replace").strip()[-500:] or f"It ended with status {process.returncode}."
        return (Probe(name="starting a box", held=False, evidence=words),)
    return tuple(Probe(name=name, held=not evidence, evidence=str(evidence)[:200]) for name, evidence in told)
