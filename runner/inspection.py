"""The last look at a change before it leaves this machine: is it small and harmless enough, and is no secret in it?

Everything is read from git objects in the supervisor's repository, never from the files the agent can still reach: what was
looked at is what is pushed. Not covered is listed in ``infra.core.carriers.NOT_UNPACKED`` and ``infra.core.encodings.NOT_COVERED``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra.core.carriers import NoRoom, Room
from infra.core.changes import Changes, FileChange
from infra.core.diff_policy import Blocked, DiffPolicy, judge
from infra.core.run import Reason
from infra.core.secret_scan import Finding, Located, Scanner, blocked_by
from runner.git import Git, GitFailed
from runner.workspace import Workspace

PATCH = "change.patch"
"""Name of the artifact that keeps the work of a run that was blocked."""

_BATCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionLimits:
    """``read_bytes``: of files as they are, before and after; ``unpacked_bytes``: of what is packed inside of them;
    ``patch_bytes``: the longest patch that is kept for a change that was stopped."""

    read_bytes: int = 256 << 20
    unpacked_bytes: int = 32 << 20
    patch_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Why a change is not published. ``patch`` is the change for people, still to be masked; empty when it cannot be kept."""

    reason: Reason
    patch: bytes

    def told(self, mask: Callable[[str], str]) -> Reason:
        """The reason as it is shown: no secret in a path, and where the work has gone."""
        kept = f" The change is kept as this run's artifact {PATCH}, secrets masked." if self.patch else ""
        return Reason(code=self.reason.code, message=mask(self.reason.message), hint=mask(self.reason.hint) + kept)

    def masked_patch(self, mask: Callable[[str], str]) -> bytes:
        return mask(self.patch.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    git: Git
    policy: DiffPolicy
    scanner: Scanner
    limits: InspectionLimits = InspectionLimits()

    async def change(self, workspace: Workspace, changes: Changes) -> Stopped | None:
        """None when the change may be published. A secret is the gravest objection, then what the policy says."""
        verdict = judge(changes, self.policy)
        try:
            found = self._names(changes) + await self._files(workspace, changes)
        except _TooMuch as error:
            reason = verdict.reason if isinstance(verdict, Blocked) else error.reason
            return Stopped(reason=reason, patch=b"")
        if found:
            # masking reaches what has a line, but not what is packed or in a name
            maskable = all(located.finding.line for located in found)
            patch = await self._patch(workspace, changes, binary=False) if maskable else b""
            return Stopped(reason=blocked_by(found), patch=patch)
        if isinstance(verdict, Blocked):
            return Stopped(reason=verdict.reason, patch=await self._patch(workspace, changes, binary=True))
        return None

    def texts(self, texts: Mapping[str, str]) -> Reason | None:
        """The same for what is said about the change. ``texts``: what it is in words ("the commit message") → the text."""
        found = [Located(place=name, finding=one) for name, text in texts.items() for one in self.scanner.text(text)]
        return blocked_by(found) if found else None

    def _names(self, changes: Changes) -> list[Located]:
        names = "\n".join(file.path for file in changes.files)
        return [
            Located(place="a file's name", finding=Finding(line=0, rule=one.rule)) for one in self.scanner.text(names)
        ]

    async def _files(self, workspace: Workspace, changes: Changes) -> list[Located]:
        files = [file for file in changes.files if file.blob and file.blob != file.base_blob]
        if sum(file.size + file.base_size for file in files) > self.limits.read_bytes:
            raise _TooMuch("to read", self.limits.read_bytes)
        room = Room(self.limits.unpacked_bytes)
        found: list[Located] = []
        for batch in _batches(files):
            blobs = await self._read(workspace, batch)
            # in a thread, so that heartbeats and output go on meanwhile
            found += await asyncio.to_thread(self._search, batch, blobs, room)
        return found

    def _search(self, files: Sequence[FileChange], blobs: Mapping[str, bytes], room: Room) -> list[Located]:
        found: list[Located] = []
        for file in files:
            try:
                findings = self.scanner.file(blobs[file.blob], blobs.get(file.base_blob, b""), room)
            except NoRoom:
                raise _TooMuch(f"packed inside of files such as {file.path}", self.limits.unpacked_bytes) from None
            found += [Located(place=file.path, finding=finding) for finding in findings]
        return found

    async def _read(self, workspace: Workspace, files: Sequence[FileChange]) -> dict[str, bytes]:
        names = sorted({name for file in files for name in (file.blob, file.base_blob) if name})
        told = await self.git.local(
            "cat-file", "--batch", directory=workspace.git, stdin="".join(f"{name}\n" for name in names).encode()
        )
        return dict(_parse_batch(told))

    async def _patch(self, workspace: Workspace, changes: Changes, *, binary: bool) -> bytes:
        """What ``git apply`` takes. Without ``binary`` such files are named only: no masking reaches into their encoding."""
        pieces: list[bytes] = []
        size = 0

        def keep(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > self.limits.patch_bytes:
                raise _TooMuch("to keep", self.limits.patch_bytes)
            pieces.append(piece)

        options = ["--binary"] if binary else []
        try:
            await self.git.local(
                "diff-tree",
                "-r",
                "-p",
                "--no-color",
                "--no-renames",
                "--no-ext-diff",
                "--no-textconv",
                "--full-index",
                *options,
                "--end-of-options",
                changes.base_sha,
                changes.tree_sha,
                directory=workspace.git,
                sink=keep,
            )
        except (_TooMuch, GitFailed):  # the run is over either way, and its reason is known
            return b""
        return b"".join(pieces)


class _TooMuch(Exception):
    def __init__(self, what: str, limit: int) -> None:
        super().__init__(what)
        self.reason = Reason(
            code="blocked_unchecked",
            message=f"The change cannot be searched for secrets: there are more than {limit:,} bytes {what}.",
            hint="Ask for the change without large or packed files; commit those by hand.",
        )


def _batches(files: Sequence[FileChange]) -> Iterator[list[FileChange]]:
    batch: list[FileChange] = []
    size = 0
    for file in files:
        if batch and size + file.size + file.base_size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size + file.base_size
    if batch:
        yield batch


def _parse_batch(told: bytes) -> Iterator[tuple[str, bytes]]:
    """Records of ``git cat-file --batch``: ``sha type size<LF>content<LF>``."""
    place = 0
    while place < len(told):
        end = told.index(b"\n", place)
        name, _, size = told[place:end].decode("ascii").split(" ")
        place = end + 1 + int(size)
        yield name, told[end + 1 : place]
        place += 1
