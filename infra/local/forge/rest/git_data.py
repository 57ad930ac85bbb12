"""Git objects made through REST: blobs, trees, commits. They have the ids that git itself would give."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from infra.core.clock import SECOND
from infra.local.forge.git import commits
from infra.local.forge.git.processes import GitFailed
from infra.local.forge.problem import Refusal, validation_failed
from infra.local.forge.rest.http import Body, Call, Reply

_MODES = ("100644", "100755", "040000", "160000", "120000")


class NewBlob(Body, frozen=True, kw_only=True):
    content: str
    encoding: str = "utf-8"


async def create_blob(call: Call) -> Reply:
    new = call.body(NewBlob)
    try:
        content = base64.b64decode(new.content) if new.encoding == "base64" else new.content.encode()
    except binascii.Error:
        raise Refusal(422, "content is not valid Base64") from None
    sha = await _store(call, content)
    return Reply(status=201, data={"sha": sha, "url": _url(call, "blobs", sha)})


class Entry(Body, frozen=True, kw_only=True):
    path: str
    mode: str
    type: str = "blob"
    sha: str | None = None
    content: str | None = None


class NewTree(Body, frozen=True, kw_only=True):
    tree: list[Entry]
    base_tree: str | None = None


async def create_tree(call: Call) -> Reply:
    new = call.body(NewTree)
    lines = []
    for entry in new.tree:
        if entry.mode not in _MODES:
            raise validation_failed("Tree", field="tree.mode")
        sha = await _store(call, entry.content.encode()) if entry.content is not None else entry.sha
        # mode 0 removes the path. https://git-scm.com/docs/git-update-index#_using_index_info
        lines.append(f"{entry.mode} {sha}\t{entry.path}" if sha else f"0 {'0' * 40}\t{entry.path}")
    index = {"GIT_INDEX_FILE": str(call.world.scratch / f"index-{call.world.entropy(12).hex()}")}
    try:
        if new.base_tree:
            await _git(call, "read-tree", new.base_tree, env=index)
        await _git(call, "update-index", "--add", "--index-info", stdin="\n".join([*lines, ""]).encode(), env=index)
        sha = await _git(call, "write-tree", env=index)
    except GitFailed as failure:
        raise Refusal(422, f"Tree could not be made: {failure}") from None
    return Reply(status=201, data={"sha": sha, "url": _url(call, "trees", sha), "truncated": False, "tree": []})


class NewCommit(Body, frozen=True, kw_only=True):
    message: str
    tree: str
    parents: tuple[str, ...] = ()
    author: dict[str, str] | None = None
    committer: dict[str, str] | None = None


async def create_commit(call: Call) -> Reply:
    """Without author and committer an App's commit is signed by GitHub, and shown as verified."""
    new, actor = call.body(NewCommit), call.actor
    moment = f"{call.world.now() // SECOND} +0000"
    signed = call.identity.app is not None and new.author is None and new.committer is None
    author = new.author or {"name": actor.login, "email": actor.email}
    committer = new.committer or ({"name": "GitHub", "email": "noreply@github.com"} if signed else author)
    env = {
        "GIT_AUTHOR_NAME": author["name"],
        "GIT_AUTHOR_EMAIL": author["email"],
        "GIT_AUTHOR_DATE": moment,
        "GIT_COMMITTER_NAME": committer["name"],
        "GIT_COMMITTER_EMAIL": committer["email"],
        "GIT_COMMITTER_DATE": moment,
    }
    parents = [word for parent in new.parents for word in ("-p", parent)]
    try:
        sha = await _git(call, "commit-tree", new.tree, *parents, stdin=new.message.encode(), env=env)
    except GitFailed:
        raise Refusal(422, "Tree SHA does not exist") from None
    return Reply(status=201, data=await _shape(call, sha, signed=signed))


async def get_commit(call: Call) -> Reply:
    sha = await call.world.refs.resolve(call.repo.id, call.parameters["sha"])
    if sha is None:
        raise Refusal(404, "Not Found")
    return Reply(data=await _shape(call, sha, signed=False))


async def _shape(call: Call, sha: str, *, signed: bool) -> dict[str, Any]:
    commit = await commits.one(call.world.git, call.world.directory(call.repo.id), sha)
    page = f"{call.world.url}/{call.repo.full_name}/commit/{sha}"
    return {
        "sha": sha,
        "url": _url(call, "commits", sha),
        "html_url": page,
        "author": {"name": commit.author.name, "email": commit.author.email, "date": commit.author.date},
        "committer": {"name": commit.committer.name, "email": commit.committer.email, "date": commit.committer.date},
        "tree": {"sha": commit.tree, "url": _url(call, "trees", commit.tree)},
        "message": commit.message,
        "parents": [{"sha": parent, "url": _url(call, "commits", parent)} for parent in commit.parents],
        "verification": {"verified": signed, "reason": "valid" if signed else "unsigned"},
    }


async def _store(call: Call, content: bytes) -> str:
    return await _git(call, "hash-object", "-w", "--stdin", stdin=content)


async def _git(call: Call, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> str:
    output = await call.world.git.run(call.world.directory(call.repo.id), *words, stdin=stdin, environment=env)
    return output.decode().strip()


def _url(call: Call, kind: str, sha: str) -> str:
    return call.world.api(f"/repos/{call.repo.full_name}/git/{kind}/{sha}")
