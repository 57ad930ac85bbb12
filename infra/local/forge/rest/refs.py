"""Branches and git references."""

from __future__ import annotations

from typing import Any

from infra.local.forge import account, push
from infra.local.forge.git import commits
from infra.local.forge.git.processes import GitFailed
from infra.local.forge.git.refs import NOTHING, Move, is_full_sha
from infra.local.forge.problem import Refusal, not_found
from infra.local.forge.rest import commits as commit_shapes
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply


async def list_branches(call: Call) -> Reply:
    branches = sorted(call.world.refs.branches(call.repo.id).items())
    rows, headers = paging.cut(call, branches)
    return Reply(data=[_shape_branch(call, name, sha) for name, sha in rows], headers=headers)


async def get_branch(call: Call) -> Reply:
    name = call.parameters["branch"]
    sha = call.world.refs.branch(call.repo.id, name)
    if sha is None:
        raise not_found("Branch not found")
    commit = await commits.one(call.world.git, call.world.directory(call.repo.id), sha)
    page = f"{call.world.url}/{call.repo.full_name}/tree/{name}"
    links = {"self": call.world.api(f"/repos/{call.repo.full_name}/branches/{name}"), "html": page}
    protected = call.repo.protected and name == call.repo.default_branch
    return Reply(
        data={
            **_shape_branch(call, name, sha),
            "commit": commit_shapes.shape(call.world, call.repo, commit),
            "_links": links,
            "protection": {
                "enabled": protected,
                "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []},
            },
            "protection_url": f"{links['self']}/protection",
        }
    )


def _shape_branch(call: Call, name: str, sha: str) -> dict[str, Any]:
    repo = call.repo
    return {
        "name": name,
        "commit": {"sha": sha, "url": call.world.api(f"/repos/{repo.full_name}/commits/{sha}")},
        "protected": repo.protected and name == repo.default_branch,
    }


async def get_ref(call: Call) -> Reply:
    name = f"refs/{call.parameters['ref']}"
    sha = call.world.refs.all(call.repo.id).get(name)
    if sha is None:
        raise not_found()
    return Reply(data=_shape_ref(call, name, sha))


async def matching_refs(call: Call) -> Reply:
    prefix = f"refs/{call.parameters['ref']}"
    known = call.world.refs.all(call.repo.id)
    return paging.reply(
        call, [_shape_ref(call, name, sha) for name, sha in sorted(known.items()) if name.startswith(prefix)]
    )


class NewRef(Body, frozen=True, kw_only=True):
    ref: str
    sha: str


async def create_ref(call: Call) -> Reply:
    new = call.body(NewRef)
    if not new.ref.startswith(("refs/heads/", "refs/tags/")) or new.ref.count("/") < 2:
        raise Refusal(422, "Reference name must start with 'refs/heads/' or 'refs/tags/'.")
    if new.ref in call.world.refs.all(call.repo.id):
        raise Refusal(422, "Reference already exists")
    await _move(call, new.ref, NOTHING, await _object(call, new.sha))
    return Reply(status=201, data=_shape_ref(call, new.ref, new.sha))


class RefChange(Body, frozen=True, kw_only=True):
    sha: str
    force: bool = False


async def update_ref(call: Call) -> Reply:
    change = call.body(RefChange)
    name, old = _existing(call)
    new = await _object(call, change.sha)
    directory = call.world.directory(call.repo.id)
    if not change.force and not await commits.is_ancestor(call.world.git, directory, old, new):
        raise Refusal(422, "Update is not a fast forward")
    await _move(call, name, old, new)
    return Reply(data=_shape_ref(call, name, new))


async def delete_ref(call: Call) -> Reply:
    name, old = _existing(call)
    if name == f"refs/heads/{call.repo.default_branch}":
        raise Refusal(422, "Cannot delete the default branch")
    await _move(call, name, old, NOTHING)
    return Reply(status=204)


def _existing(call: Call) -> tuple[str, str]:
    name = f"refs/{call.parameters['ref']}"
    old = call.world.refs.all(call.repo.id).get(name)
    if old is None or not name.startswith(("refs/heads/", "refs/tags/")):
        raise Refusal(422, "Reference does not exist")
    return name, old


async def _object(call: Call, sha: str) -> str:
    known = await call.world.refs.resolve(call.repo.id, sha) if is_full_sha(sha) else None
    if known is None:
        raise Refusal(422, "Object does not exist")
    return known


async def _move(call: Call, name: str, old: str, new: str) -> None:
    repo = call.repo
    if repo.protected and name == f"refs/heads/{repo.default_branch}":
        raise Refusal(422, "Protected branch update failed: changes must be made through a pull request.")
    try:
        await call.world.refs.move(repo.id, name, new, old)
    except GitFailed:
        # A name git refuses, or somebody was faster.
        raise Refusal(422, f"Reference update failed: {name}") from None
    await push.moved(call.world, repo, call.actor, [Move(name, old, new)])


def _shape_ref(call: Call, name: str, sha: str) -> dict[str, Any]:
    api = call.world.api(f"/repos/{call.repo.full_name}/git")
    return {
        "ref": name,
        "node_id": account.node_id("REF", int(sha[:10], 16)),
        "url": f"{api}/{name}",
        "object": {"sha": sha, "type": "commit", "url": f"{api}/commits/{sha}"},
    }
