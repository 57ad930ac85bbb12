"""Commits and trees, read from git."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.forge.git.processes import Git, GitFailed

_FORMAT = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
_FIELDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """``date`` as ISO 8601."""

    name: str
    email: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name in a tree. ``kind``: blob, tree or commit (a submodule); ``size`` of blobs only."""

    mode: str
    kind: str
    sha: str
    size: int
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


async def log(git: Git, directory: Path, revisions: Sequence[str], *, limit: int, skip: int = 0) -> list[Commit]:
    """Newest first. ``revisions`` are object ids, with ``^`` before those whose history is left out."""
    output = await git.run(
        directory, "log", "-z", f"--format={_FORMAT}", f"--max-count={limit}", f"--skip={skip}", *revisions, "--"
    )
    return list(_parse(output.decode(errors="replace")))


async def one(git: Git, directory: Path, sha: str) -> Commit:
    return (await log(git, directory, [sha], limit=1))[0]


def _parse(text: str) -> Iterator[Commit]:
    # Nothing in a commit can hold a NUL, so NUL between fields and between commits is unambiguous.
    fields = text.split("\0")
    for start in range(0, len(fields) - _FIELDS + 1, _FIELDS):
        sha, tree, parents, *people, message = fields[start : start + _FIELDS]
        yield Commit(
            sha=sha,
            tree=tree,
            parents=tuple(parents.split()),
            author=Signature(name=people[0], email=people[1], date=_utc(people[2])),
            committer=Signature(name=people[3], email=people[4], date=_utc(people[5])),
            message=message.rstrip("\n"),
        )


def _utc(date: str) -> str:
    return date.replace("+00:00", "Z")


async def entries(git: Git, directory: Path, commit: str, path: str) -> list[Entry]:
    """What ``path`` names in the tree: itself if a file, its children if a folder (``path`` ends with a slash or is empty)."""
    output = await git.run(
        directory, "--literal-pathspecs", "ls-tree", "-l", "-z", commit, "--", *([path] if path else [])
    )
    return [_entry(line) for line in output.decode(errors="replace").split("\0") if line]


def _entry(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, kind, sha, size = facts.split()
    return Entry(mode=mode, kind=kind, sha=sha, size=int(size) if size.isdigit() else 0, path=path)


async def blob(git: Git, directory: Path, sha: str) -> bytes:
    return await git.run(directory, "cat-file", "blob", sha)


async def changed_paths(git: Git, directory: Path, sha: str) -> dict[str, list[str]]:
    """``added``, ``removed`` and ``modified`` paths of one commit against its first parent."""
    output = await git.run(
        directory, "diff-tree", "-r", "-z", "--root", "--no-renames", "--name-status", "--no-commit-id", sha
    )
    kinds: dict[str, list[str]] = {"added": [], "removed": [], "modified": []}
    words = output.decode(errors="replace").split("\0")
    for status, path in zip(words[0::2], words[1::2], strict=False):
        kinds[{"A": "added", "D": "removed"}.get(status, "modified")].append(path)
    return kinds


async def is_ancestor(git: Git, directory: Path, old: str, new: str) -> bool:
    try:
        await git.run(directory, "merge-base", "--is-ancestor", old, new)
    except GitFailed as failure:
        if failure.status == 1:
            return False
        raise
    return True
