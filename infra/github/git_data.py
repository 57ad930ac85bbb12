"""Git objects through REST (``infra.core.git_data.GitData``). https://docs.github.com/en/rest/git"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from infra.core.git_data import TreeEntry
from infra.core.repository import Repository, parse_ref
from infra.github.calls import reader, repo_path
from infra.github.protocol import Call
from infra.github.sending import Sending
from infra.github.shapes import CommitShape

_object = reader(CommitShape)


class GitData(Sending):
    async def create_blob(self, content: bytes) -> str:
        return await self._send(blob_call(self._repository, content))

    async def create_tree(self, base: str, entries: Sequence[TreeEntry]) -> str:
        return await self._send(tree_call(self._repository, base, entries))

    async def create_commit(self, *, message: str, tree: str, parent: str) -> str:
        return await self._send(commit_call(self._repository, message=message, tree=tree, parent=parent))

    async def create_branch(self, name: str, sha: str) -> None:
        await self._send(new_branch_call(self._repository, name, sha))

    async def move_branch(self, name: str, sha: str) -> None:
        await self._send(move_branch_call(self._repository, name, sha))


def blob_call(repository: Repository, content: bytes) -> Call[str]:
    json = {"content": b64encode(content).decode(), "encoding": "base64"}
    return _create(repository, "blobs", json, "a file")


def tree_call(repository: Repository, base: str, entries: Sequence[TreeEntry]) -> Call[str]:
    return _create(repository, "trees", {"base_tree": base, "tree": [_entry(one) for one in entries]}, "a tree")


def commit_call(repository: Repository, *, message: str, tree: str, parent: str) -> Call[str]:
    return _create(repository, "commits", {"message": message, "tree": tree, "parents": [parent]}, "a commit")


def new_branch_call(repository: Repository, name: str, sha: str) -> Call[None]:
    return Call(
        method="POST",
        path=f"{repo_path(repository)}/git/refs",
        json={"ref": f"refs/heads/{parse_ref(name)}", "sha": sha},
        about=f"the branch {name} of {repository}",
        read=lambda _: None,
    )


def move_branch_call(repository: Repository, name: str, sha: str) -> Call[None]:
    return Call(
        method="PATCH",
        path=f"{repo_path(repository)}/git/refs/heads/{quote(parse_ref(name), safe='/')}",
        json={"sha": sha, "force": False},
        about=f"the branch {name} of {repository}",
        read=lambda _: None,
        repeatable=True,
    )


def _create(repository: Repository, kind: str, json: Mapping[str, object], about: str) -> Call[str]:
    """Objects are named by their content, so a lost answer may be asked for again; nobody sees them until a branch does."""
    return Call(
        method="POST",
        path=f"{repo_path(repository)}/git/{kind}",
        json=json,
        about=f"{about} of {repository}",
        read=lambda body: _object(body).sha,
        repeatable=True,
        quiet=True,
    )


def _entry(entry: TreeEntry) -> dict[str, object]:
    kind: dict[str, object] = {"path": entry.path, "mode": entry.mode, "type": "blob"}
    return kind | ({"content": entry.text} if entry.text is not None else {"sha": entry.blob or None})
