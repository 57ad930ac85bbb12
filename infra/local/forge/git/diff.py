"""What changed between two commits: files with their patches, and which lines a patch shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.local.forge.git.processes import Git, GitFailed

_STATUS = {"A": "added", "D": "removed", "M": "modified", "T": "changed", "R": "renamed", "C": "copied"}
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "-M")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """``sha`` of the new blob (of the old one when removed). ``patch`` without its headers; None for binary files."""

    path: str
    previous: str | None
    status: str
    sha: str
    additions: int
    deletions: int
    patch: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    commits: int
    additions: int
    deletions: int
    changed_files: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a patch. ``old``/``new``: its number on the left and right side, None where it is not."""

    text: str
    old: int | None
    new: int | None


async def merge_base(git: Git, directory: Path, base: str, head: str) -> str | None:
    try:
        return (await git.run(directory, "merge-base", base, head)).decode().strip()
    except GitFailed as failure:
        if failure.status == 1:
            return None
        raise


async def text(git: Git, directory: Path, old: str, new: str) -> bytes:
    return await git.run(directory, *_DIFF, old, new, "--")


async def totals(git: Git, directory: Path, base: str, head: str) -> Totals:
    old = await merge_base(git, directory, base, head) or base
    numbers = _numbers(await git.run(directory, *_DIFF, "--numstat", "-z", old, head, "--"))
    count = await git.run(directory, "rev-list", "--count", head, f"^{base}", "--")
    return Totals(
        commits=int(count),
        additions=sum(added for added, _ in numbers),
        deletions=sum(gone for _, gone in numbers),
        changed_files=len(numbers),
    )


async def files(git: Git, directory: Path, old: str, new: str) -> list[FileChange]:
    raw = await git.run(directory, *_DIFF, "--raw", "--abbrev=40", "-z", old, new, "--")
    numbers = _numbers(await git.run(directory, *_DIFF, "--numstat", "-z", old, new, "--"))
    patches = _patches((await text(git, directory, old, new)).decode(errors="replace"))
    changes = []
    # The three listings come in the same order.
    for (status, old_sha, new_sha, previous, path), (added, gone) in zip(_raw(raw), numbers, strict=True):
        patch = next(patches, None)
        if status == "T":  # git shows a change of type as a removal and an addition
            patch = next(patches, None)
        changes.append(
            FileChange(
                path=path,
                previous=previous,
                status=_STATUS.get(status, "changed"),
                sha=old_sha if status == "D" else new_sha,
                additions=added,
                deletions=gone,
                patch=patch,
            )
        )
    return changes


def _raw(output: bytes) -> Iterator[tuple[str, str, str, str | None, str]]:
    words = iter(output.decode(errors="replace").split("\0"))
    for facts in words:
        if not facts:
            return
        _, _, old_sha, new_sha, status = facts.split()
        first = next(words)
        renamed = status[0] in "RC"
        yield status[0], old_sha, new_sha, (first if renamed else None), (next(words) if renamed else first)


def _numbers(output: bytes) -> list[tuple[int, int]]:
    found = []
    words = iter(output.decode(errors="replace").split("\0"))
    for word in words:
        if not word:
            break
        added, gone, path = word.split("\t", 2)
        if not path:  # a rename: old and new path follow
            next(words)
            next(words)
        found.append((int(added) if added != "-" else 0, int(gone) if gone != "-" else 0))
    return found


def _patches(output: str) -> Iterator[str | None]:
    for section in re.split(r"^diff --git ", output, flags=re.MULTILINE)[1:]:
        start = section.find("\n@@ ")
        yield section[start + 1 :].rstrip("\n") if start >= 0 else None


def lines(patch: str) -> Iterator[Line]:
    """The patch line by line with numbers on both sides; hunk headers have none."""
    old = new = 0
    for line in patch.split("\n"):
        header = _HUNK.match(line)
        if header:
            old, new = int(header[1]), int(header[2])
            yield Line(line, None, None)
        elif line.startswith("+"):
            yield Line(line, None, new)
            new += 1
        elif line.startswith("-"):
            yield Line(line, old, None)
            old += 1
        elif line.startswith("\\"):
            yield Line(line, None, None)
        else:
            yield Line(line, old, new)
            old, new = old + 1, new + 1


def hunk_up_to(patch: str, line: int, side: str) -> str | None:
    """GitHub's ``diff_hunk``: from the hunk's header to the commented line. None when the patch does not show that line."""
    shown: list[str] = []
    for entry in lines(patch):
        if _HUNK.match(entry.text):
            shown = []
        shown.append(entry.text)
        if (entry.old if side == "LEFT" else entry.new) == line:
            return "\n".join(shown)
    return None
