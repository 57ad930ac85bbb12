"""A commit that lies in the supervisor's repository, made once more through the forge's API, which signs it.

What is sent is the difference between two git objects, never a file the agent can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.errors import Invalid
from infra.core.git_data import GitData, TreeEntry
from runner.git import Git
from runner.refusals import MovedOn
from runner.workspace import Workspace

MAX_TEXT_BYTES = 1 << 20
"""Of texts that travel within one request; what is beyond goes file by file."""

_NOT_THERE = "0" * 40
_MOVED = ("already exists", "fast forward", "fast-forward")


@dataclass(frozen=True, slots=True)
class ApiPush:
    """Puts commits on ``branch`` of the forge."""

    git: Git
    workspace: Workspace
    forge: GitData
    branch: str
    base_sha: str

    async def __call__(self, head: str, lease: str) -> str:
        """Makes ``head`` on top of ``lease`` (empty: a new branch on the base); returns its SHA there.

        Raises ``MovedOn`` when the branch is not where ``lease`` says.
        """
        parent = lease or self.base_sha
        base = (await self.git.local("rev-parse", f"{parent}^{{tree}}", directory=self.workspace.git)).decode().strip()
        tree = await self.forge.create_tree(base, await self._entries(parent, head))
        commit = await self.git.local("cat-file", "commit", head, directory=self.workspace.git)
        message = commit.partition(b"\n\n")[2].decode()
        made = await self.forge.create_commit(message=message, tree=tree, parent=parent)
        try:
            if lease:
                await self.forge.move_branch(self.branch, made)
            else:
                await self.forge.create_branch(self.branch, made)
        except Invalid as error:
            if any(words in error.message.lower() for words in _MOVED):
                raise MovedOn(error.message) from error
            raise
        return made

    async def _entries(self, parent: str, head: str) -> list[TreeEntry]:
        told = await self.git.local(
            "diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", parent, head, directory=self.workspace.git
        )
        fields = told.split(b"\0")[:-1]
        entries, room = [], MAX_TEXT_BYTES
        for meta, raw_path in zip(fields[::2], fields[1::2], strict=True):
            _, mode, _, blob, _ = meta.decode("ascii").removeprefix(":").split(" ")
            path = raw_path.decode()
            if blob == _NOT_THERE:
                entries.append(TreeEntry(path=path, mode="100644"))
                continue
            content = await self.git.local("cat-file", "blob", blob, directory=self.workspace.git)
            text = _text(content) if len(content) <= room else None
            if text is not None:
                room -= len(content)
                entries.append(TreeEntry(path=path, mode=mode, text=text))
            else:
                entries.append(TreeEntry(path=path, mode=mode, blob=await self.forge.create_blob(content)))
        return entries


def _text(content: bytes) -> str | None:
    """The content as JSON can carry it without a change; None for anything else."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
