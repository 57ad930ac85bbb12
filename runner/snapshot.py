"""The state of an agent that can be taken up elsewhere: its files and its conversation, each as a git bundle.

Made inside a box, as the agent's user, while the agent works or after its end; taken up in a fresh workspace, where nothing
of it is believed before git has looked at every object. The conversation is read before the files: files that are newer than
it are looked at again by the agent, files that are older would contradict what it remembers. Not kept: what ``.gitignore``
names, and the content of repositories that the agent made or cloned inside the tree.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.core.clock import Clock
from infra.core.errors import Invalid, PullwrightError, TooLarge
from infra.core.ids import RunId
from infra.core.words import commit_message
from runner import snapshot_start
from runner.git import Git, GitFailed
from runner.helper import helper_path, run_helper, scratch_in
from runner.sandbox import Box, Sandbox
from runner.saved_work import restore
from runner.workspace import Workspace

WORK = "checkpoints/work.bundle"
SESSION = "checkpoints/session.bundle"

MOST_BYTES = 30 << 20
"""Of one bundle: it travels in one request. https://cloud.google.com/run/quotas"""

_SESSION_REF = "refs/pullwright/session"
_SECONDS = 60.0
_SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """``session`` is empty when the agent has not said anything yet."""

    session_id: str
    session: bytes = field(repr=False)
    work: bytes = field(repr=False)


class SnapshotFailed(PullwrightError):
    default_code = "snapshot_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """Of one agent in one workspace. ``path`` is the agent's; ``environment`` git's, hardened; ``beside`` the agent's box."""

    sandbox: Sandbox
    place: Workspace
    beside: str
    run_id: RunId
    base_sha: str
    path: str
    environment: Mapping[str, str] = field(repr=False)
    clock: Clock

    async def take(self, session_id: str, *, at_work: bool) -> Snapshot:
        """``at_work``: the agent's box is there, and goes on. Raises ``SnapshotFailed``, ``TooLarge``, ``Unavailable``."""
        session_id = session_id if _SESSION_ID.fullmatch(session_id) else ""
        told = await self._told(session_id, at_work=at_work)
        size, _, content = told.partition(b"\n")
        split = int(size)
        return Snapshot(session_id=session_id if split else "", session=content[:split], work=content[split:])

    async def _told(self, session_id: str, *, at_work: bool) -> bytes:
        taken, said = bytearray(), bytearray()

        async def take(piece: bytes) -> None:
            taken.extend(piece)
            if len(taken) > MOST_BYTES:
                raise TooLarge(f"The agent's state is over {MOST_BYTES:,} bytes.", code="snapshot_too_large")

        async def hear(piece: bytes) -> None:
            said.extend(piece[: 4096 - len(said)])

        async with scratch_in(self.place.root) as scratch:
            box = self._box(scratch, at_work=at_work)
            arguments = [
                *(session_id, str(box.home), self.base_sha, str(box.tree), str(box.tmp)),
                commit_message("Checkpoint", self.run_id),
            ]
            try:
                code = await run_helper(
                    self.sandbox, box, snapshot_start, arguments, seconds=_SECONDS, out=take, err=hear
                )
            except TimeoutError as error:
                raise SnapshotFailed(f"The agent's state could not be saved within {_SECONDS:.0f} seconds.") from error
        if code:
            words = said.decode("utf-8", "replace").strip()[-500:]
            raise SnapshotFailed(f"The agent's state could not be saved: {words or f'exit code {code}'}.")
        return bytes(taken)

    def _box(self, scratch: Path, *, at_work: bool) -> Box:
        moment = f"{self.clock() // 1000} +0000"
        who = {"NAME": "Checkpoint", "EMAIL": "checkpoint@localhost", "DATE": moment}
        environment = {
            **self.environment,
            **{f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in who.items()},
            "PATH": helper_path(self.path),
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
        }
        return Box(
            id=f"{self.beside}-{scratch.name}",
            tree=self.place.tree,
            home=self.place.home,
            tmp=scratch / "tmp",
            environment=environment,
            beside=self.beside if at_work else "",
            own_tree=self.place.own_tree,
        )


async def take_up_work(git: Git, place: Workspace, content: bytes, *, base_sha: str, run_id: RunId) -> None:
    """Lays the saved files out in a workspace that was cloned at ``base_sha``.

    Raises ``Invalid`` (``saved_work_broken``) unless they are one whole commit of that run on that base.
    """
    file = place.out / "checkpoint.bundle"
    await asyncio.to_thread(file.write_bytes, content)
    head = await restore(git, place, file, base_sha=base_sha, run_id=run_id)
    await git.local("read-tree", "--reset", "-u", head, directory=place.git, tree=place.tree)


async def take_up_session(git: Git, place: Workspace, content: bytes, *, session_id: str) -> None:
    """Puts a conversation where Claude Code looks for it. Raises ``Invalid`` (``saved_session_broken``)."""
    if _SESSION_ID.fullmatch(session_id) is None:
        raise _broken("it has no name")
    file = place.out / "session.bundle"
    await asyncio.to_thread(file.write_bytes, content)
    try:
        head = await _unbundled(git, place, file)
        names = (await git.local("ls-tree", "--name-only", "-z", head, directory=place.git)).decode().split("\0")[:-1]
        if not {f"{session_id}.jsonl"} <= set(names) <= {f"{session_id}.jsonl", session_id}:
            raise _broken("it holds something else")
        folder = place.home / ".claude" / "projects" / project_folder(place.tree)
        await asyncio.to_thread(folder.mkdir, parents=True, mode=0o700)
        index = {"GIT_INDEX_FILE": str(place.git / "session.index")}
        await git.local("read-tree", "--reset", "-u", head, directory=place.git, tree=folder, env=index)
    except GitFailed as error:
        raise _broken(f"git said: {error.words}") from error
    await asyncio.to_thread(_whole_lines, folder / f"{session_id}.jsonl")


async def _unbundled(git: Git, place: Workspace, file: Path) -> str:
    told = await git.local("bundle", "unbundle", str(file), directory=place.git)
    heads = [line.split(" ", 1) for line in told.decode().splitlines()]
    if [reference for _, reference in heads] != [_SESSION_REF]:
        raise _broken("it does not hold exactly one conversation")
    await git.local("fsck", "--strict", "--no-dangling", "--no-progress", heads[0][0], directory=place.git)
    return heads[0][0]


def project_folder(tree: Path) -> str:
    """How Claude Code names the folder of a working directory's sessions; seen with 2.1.329."""
    return re.sub(r"[^A-Za-z0-9]", "-", str(tree))


def _whole_lines(path: Path) -> None:
    """Cuts a line that was being written when the snapshot was taken."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _broken(why: str) -> Invalid:
    return Invalid(
        f"The saved conversation of an earlier attempt cannot be used: {why}.",
        code="saved_session_broken",
        hint="The agent starts over.",
    )
