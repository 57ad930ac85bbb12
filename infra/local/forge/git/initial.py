"""The first content of a repository: from files, a folder, a bundle or another repository."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.forge.git.commits import Signature
from infra.local.forge.git.processes import Git

_SKIPPED = {".git", "__pycache__"}


@dataclass(frozen=True, slots=True)
class File:
    """``mode`` as git writes it: 100644, 100755 or 120000 (a link, whose content is its target)."""

    content: bytes
    mode: str = "100644"


def files_below(folder: Path) -> dict[str, File]:
    """Everything in ``folder`` but version control and compiled Python."""
    return {path.relative_to(folder).as_posix(): _file(path) for path in _walk(folder)}


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _SKIPPED:
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        else:
            yield entry


def _file(path: Path) -> File:
    if path.is_symlink():
        return File(str(path.readlink()).encode(), "120000")
    return File(path.read_bytes(), "100755" if os.access(path, os.X_OK) else "100644")


async def create(git: Git, directory: Path, branch: str) -> None:
    """An empty bare repository."""
    await git.run(directory.parent, "init", "--quiet", "--bare", f"--initial-branch={branch}", "--", directory.name)


async def copy(git: Git, directory: Path, source: Path) -> str:
    """A bare copy of a bundle or repository; returns the name of its default branch."""
    await git.run(directory.parent, "clone", "--quiet", "--bare", "--no-local", "--", str(source), directory.name)
    await git.run(directory, "remote", "remove", "origin")
    return (await git.run(directory, "symbolic-ref", "--short", "HEAD")).decode().strip()


async def commit_files(
    git: Git, directory: Path, branch: str, files: Mapping[str, File], *, author: Signature, seconds: int, message: str
) -> None:
    """One commit on ``branch``. https://git-scm.com/docs/git-fast-import"""
    stream = bytearray()
    stream += f"commit refs/heads/{branch}\n".encode()
    stream += f"committer {author.name} <{author.email}> {seconds} +0000\n".encode()
    stream += _data(message.encode())
    for path, file in files.items():
        stream += f"M {file.mode} inline {_quoted(path)}\n".encode()
        stream += _data(file.content)
    stream += b"done\n"
    await git.run(directory, "fast-import", "--quiet", "--done", stdin=bytes(stream))


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
