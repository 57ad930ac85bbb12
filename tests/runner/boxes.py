"""Boxes for tests: a place with the three folders, a program run in a box, and whether this machine can have boxes at all."""

import asyncio
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from runner.bubblewrap import BubblewrapSandbox
from runner.sandbox import Box

SH = Path("/bin/sh")
SYSTEM_PYTHON = Path("/usr/bin/python3")


@cache
def why_no_boxes() -> str:
    """Empty where bubblewrap works."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed"
    tried = subprocess.run(
        [bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"no user namespaces here: {tried.stderr.strip()}"


needs_boxes = pytest.mark.skipif(bool(why_no_boxes()), reason=why_no_boxes() or "boxes work")


def box_in(place: Path, **more) -> Box:
    for name in ("tree", "home", "tmp"):
        (place / name).mkdir(exist_ok=True, mode=0o700)
    environment = {"PATH": os.defpath, "HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
    asked = {"id": f"box-{os.urandom(5).hex()}", "environment": environment} | more
    return Box(tree=place / "tree", home=place / "home", tmp=place / "tmp", **asked)


async def start_in(sandbox: BubblewrapSandbox, box: Box, *arguments: str, program: Path = SH, **more):
    launcher = await sandbox.launcher(box, program)
    asked = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT} | more
    return await asyncio.create_subprocess_exec(launcher, *arguments, cwd=box.tree, **asked)


async def run_in(sandbox: BubblewrapSandbox, box: Box, script: str, *arguments: str, **more) -> str:
    process = await start_in(sandbox, box, "-c", script, "sh", *arguments, **more)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        await sandbox.destroy(box)
    return output.decode(errors="replace")


def python_of_others() -> Path | None:
    """An interpreter that any user may run; None where there is none of at least 3.11."""
    for candidate in (Path(os.path.realpath(sys.executable)), SYSTEM_PYTHON):
        if candidate.exists() and all(folder.stat().st_mode & 0o001 for folder in candidate.resolve().parents):
            asked = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(asked, check=False).returncode == 0:
                return candidate
    return None
