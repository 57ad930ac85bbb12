"""Commits, comparisons and the contents of the tree."""

from __future__ import annotations

import base64
from typing import Any

from infra.local.forge import account
from infra.local.forge.git import commits
from infra.local.forge.git.commits import Commit, Entry, Signature
from infra.local.forge.git.diff import FileChange
from infra.local.forge.problem import Refusal, not_found
from infra.local.forge.repository import Repository
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Call, Reply
from infra.local.forge.world import World

_MAX_COMMITS = 250
_MAX_INLINE = 1024 * 1024
"""Larger files come only raw. https://docs.github.com/rest/repos/contents#get-repository-content"""


async def resolved(call: Call, ref: str) -> str:
    """Raises GitHub's 422 for what names no commit."""
    sha = await call.world.refs.resolve(call.repo.id, ref)
    if sha is None:
        raise Refusal(422, f"No commit found for SHA: {ref}")
    return sha


async def list_commits(call: Call) -> Reply:
    ref = call.query.get("sha") or call.repo.default_branch
    sha = await call.world.refs.resolve(call.repo.id, ref)
    if sha is None:
        raise not_found()
    page, size = paging.window(call)
    listed = await commits.log(
        call.world.git, call.world.directory(call.repo.id), [sha], limit=size + 1, skip=(page - 1) * size
    )
    more = {"link": f'<{paging.link(call, page=str(page + 1))}>; rel="next"'} if len(listed) > size else {}
    return Reply(data=[shape(call.world, call.repo, commit) for commit in listed[:size]], headers=more)


async def get_commit(call: Call) -> Reply:
    sha = await resolved(call, call.parameters["ref"])
    if call.wants("sha"):
        return Reply(content=sha.encode(), media_type="application/vnd.github.sha; charset=utf-8")
    commit = await commits.one(call.world.git, call.world.directory(call.repo.id), sha)
    parent = commit.parents[0] if commit.parents else None
    if call.wants("diff") and parent:
        return Reply(content=await call.world.differences.text(call.repo.id, parent, sha), media_type="text/plain")
    files = await call.world.differences.files(call.repo.id, parent, sha) if parent else []
    added, gone = sum(change.additions for change in files), sum(change.deletions for change in files)
    return Reply(
        data={
            **shape(call.world, call.repo, commit),
            "stats": {"total": added + gone, "additions": added, "deletions": gone},
            "files": [shape_file(call.world, call.repo, sha, change) for change in files],
        }
    )


async def compare(call: Call) -> Reply:
    base_name, dots, head_name = call.parameters["basehead"].partition("...")
    if not dots:
        raise not_found()
    world, repo = call.world, call.repo
    base, head = await _named(call, base_name), await _named(call, head_name)
    if call.wants("diff"):
        return Reply(content=await world.differences.text(repo.id, base, head), media_type="text/plain")
    directory = world.directory(repo.id)
    start = await world.differences.start(repo.id, base, head)
    ahead = await commits.log(world.git, directory, [head, f"^{base}"], limit=_MAX_COMMITS)
    behind = await commits.log(world.git, directory, [base, f"^{head}"], limit=_MAX_COMMITS)
    state = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind"}
    api, page = world.api(f"/repos/{repo.full_name}/compare/"), f"{world.url}/{repo.full_name}/compare/"
    base_commit, start_commit = (
        await commits.one(world.git, directory, base),
        await commits.one(world.git, directory, start),
    )
    span = call.parameters["basehead"]
    return Reply(
        data={
            "url": f"{api}{span}",
            "html_url": f"{page}{span}",
            "permalink_url": f"{page}{base[:12]}...{head[:12]}",
            "diff_url": f"{page}{span}.diff",
            "patch_url": f"{page}{span}.patch",
            "base_commit": shape(world, repo, base_commit),
            "merge_base_commit": shape(world, repo, start_commit),
            "status": state.get((bool(ahead), bool(behind)), "identical"),
            "ahead_by": len(ahead),
            "behind_by": len(behind),
            "total_commits": len(ahead),
            "commits": [shape(world, repo, commit) for commit in reversed(ahead)],
            "files": [
                shape_file(world, repo, head, change) for change in await world.differences.files(repo.id, base, head)
            ],
        }
    )


async def _named(call: Call, name: str) -> str:
    owner, colon, branch = name.rpartition(":")
    if colon and owner.lower() != call.repo.owner_login.lower():
        raise not_found()
    sha = await call.world.refs.resolve(call.repo.id, branch)
    if sha is None:
        raise not_found()
    return sha


async def get_contents(call: Call) -> Reply:
    world, repo = call.world, call.repo
    ref = call.query.get("ref") or repo.default_branch
    path = call.parameters.get("path", "").strip("/")
    sha = await world.refs.resolve(repo.id, ref)
    if sha is None:
        raise not_found(f"No commit found for the ref {ref}")
    directory = world.directory(repo.id)
    if path:
        own = await commits.entries(world.git, directory, sha, path)
        if not own:
            raise not_found()
        if own[0].kind != "tree":
            return await _file(call, ref, own[0])
    children = await commits.entries(world.git, directory, sha, f"{path}/" if path else "")
    return Reply(data=[_shape_entry(call, ref, entry) for entry in children])


async def _file(call: Call, ref: str, entry: Entry) -> Reply:
    shape = _shape_entry(call, ref, entry)
    if entry.kind != "blob":
        return Reply(data=shape)
    content = await commits.blob(call.world.git, call.world.directory(call.repo.id), entry.sha)
    if call.wants("raw"):
        return Reply(content=content, media_type="application/vnd.github.raw; charset=utf-8")
    if len(content) > _MAX_INLINE:
        return Reply(data={**shape, "content": "", "encoding": "none"})
    return Reply(data={**shape, "content": base64.encodebytes(content).decode(), "encoding": "base64"})


def _shape_entry(call: Call, ref: str, entry: Entry) -> dict[str, Any]:
    api = call.world.api(f"/repos/{call.repo.full_name}")
    url = f"{api}/contents/{entry.path}?ref={ref}"
    page = f"{call.world.url}/{call.repo.full_name}/blob/{ref}/{entry.path}"
    kind = {"tree": "dir", "commit": "submodule"}.get(entry.kind, "symlink" if entry.mode == "120000" else "file")
    git_url = f"{api}/git/{'trees' if kind == 'dir' else 'blobs'}/{entry.sha}"
    return {
        "name": entry.name,
        "path": entry.path,
        "sha": entry.sha,
        "size": entry.size,
        "url": url,
        "html_url": page,
        "git_url": git_url,
        "download_url": None,
        "type": kind,
        "_links": {"self": url, "git": git_url, "html": page},
    }


def shape(world: World, repo: Repository, commit: Commit) -> dict[str, Any]:
    api, page = world.api(f"/repos/{repo.full_name}"), f"{world.url}/{repo.full_name}"
    return {
        "sha": commit.sha,
        "node_id": account.node_id("C", int(commit.sha[:10], 16)),
        "commit": {
            "author": _signature(commit.author),
            "committer": _signature(commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": f"{api}/git/trees/{commit.tree}"},
            "url": f"{api}/git/commits/{commit.sha}",
            "comment_count": 0,
            "verification": {
                "verified": False,
                "reason": "unsigned",
                "signature": None,
                "payload": None,
                "verified_at": None,
            },
        },
        "url": f"{api}/commits/{commit.sha}",
        "html_url": f"{page}/commit/{commit.sha}",
        "comments_url": f"{api}/commits/{commit.sha}/comments",
        "author": _account(world, commit.author),
        "committer": _account(world, commit.committer),
        "parents": [
            {"sha": sha, "url": f"{api}/commits/{sha}", "html_url": f"{page}/commit/{sha}"} for sha in commit.parents
        ],
    }


def _signature(signature: Signature) -> dict[str, str]:
    return {"name": signature.name, "email": signature.email, "date": signature.date}


def _account(world: World, signature: Signature) -> dict[str, Any] | None:
    known = world.account_of(signature.email)
    return account.shape(world, known) if known else None


def shape_file(world: World, repo: Repository, head: str, change: FileChange) -> dict[str, Any]:
    page = f"{world.url}/{repo.full_name}"
    return {
        "sha": change.sha,
        "filename": change.path,
        "status": change.status,
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": f"{page}/blob/{head}/{change.path}",
        "raw_url": f"{page}/raw/{head}/{change.path}",
        "contents_url": world.api(f"/repos/{repo.full_name}/contents/{change.path}?ref={head}"),
        **({"patch": change.patch} if change.patch is not None else {}),
        **({"previous_filename": change.previous} if change.previous else {}),
    }
