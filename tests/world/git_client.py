"""The real git as a client in tests: own home, no prompts, nothing of the machine's settings."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """``text``: standard output and error together."""

    status: int
    text: str


async def git(*arguments: str, cwd: Path | None = None) -> Ended:
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        cwd=cwd,
        env=_ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(errors="replace"))


async def succeed(*arguments: str, cwd: Path | None = None) -> str:
    ended = await git(*arguments, cwd=cwd)
    assert ended.status == 0, f"git {arguments[0]}: {ended.text}"
    return ended.text.strip()


async def clone(url: str, target: Path) -> Path:
    await succeed("clone", "--quiet", url, str(target))
    return target


async def commit(work: Path, path: str, content: str, message: str, *, branch: str = "") -> str:
    """Writes a file and commits it, on a new branch if one is named; returns the commit id."""
    if branch:
        await succeed("checkout", "--quiet", "-B", branch, cwd=work)
    file = work / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    await succeed("add", "--all", cwd=work)
    await succeed("commit", "--quiet", "--message", message, cwd=work)
    return await succeed("rev-parse", "HEAD", cwd=work)
