"""What follows when refs moved: the ``push`` webhook, pull requests that grew or lost their branch, issues that close."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from infra.local.forge import issue, pull, repository
from infra.local.forge.account import Account
from infra.local.forge.git import commits
from infra.local.forge.git.commits import Commit, Signature
from infra.local.forge.git.refs import NOTHING, Move
from infra.local.forge.repository import Repository

if TYPE_CHECKING:
    from infra.local.forge.world import World

_MAX_COMMITS = 20
# https://docs.github.com/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue
_CLOSING = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})\b", re.IGNORECASE)


async def received(world: World, repo: Repository, actor: Account, noted: str) -> None:
    """After ``git-receive-pack``: ``noted`` is what the hook wrote down."""
    await world.refs.refresh(repo.id)
    lines = (line.split(" ", 2) for line in noted.splitlines())
    await moved(world, repo, actor, [Move(ref, before, after) for before, after, ref in lines])


async def moved(world: World, repo: Repository, actor: Account, moves: Sequence[Move]) -> None:
    """Tells everybody; the refs are already where ``moves`` say."""
    if not moves:
        return
    row = repository.current(world, repo)
    repo = world.repositories.put(replace(row, pushed_at=world.now()))
    for move in moves:
        payload = await _payload(world, repo, actor, move)
        world.webhooks.emit("push", repo, actor, payload)
        if move.branch is None:
            continue
        await pull.branch_moved(world, repo, actor, move)
        if move.branch == repo.default_branch:
            messages = "\n".join(entry["message"] for entry in payload["commits"])
            await close_mentioned(world, repo, actor, messages)


async def close_mentioned(world: World, repo: Repository, actor: Account, text: str) -> None:
    """``Closes #3`` in what reached the default branch closes issue 3."""
    for number in dict.fromkeys(map(int, _CLOSING.findall(text))):
        mentioned = issue.find(world, repo, number)
        if mentioned and not mentioned.is_pull:
            await issue.set_state(world, repo, actor, mentioned, "closed")


async def _payload(world: World, repo: Repository, actor: Account, move: Move) -> dict[str, Any]:
    page = f"{world.url}/{repo.full_name}"
    created, deleted = move.before == NOTHING, move.after == NOTHING
    directory = world.directory(repo.id)
    listed = [] if deleted else await _commits(world, repo, move)
    shapes = [await _shape_commit(world, repo, commit) for commit in listed]
    head = shapes[-1] if shapes else None
    if head is None and not deleted:
        tip = await world.refs.resolve(repo.id, move.after)
        head = await _shape_commit(world, repo, await commits.one(world.git, directory, tip)) if tip else None
    forced = not (created or deleted) and not await commits.is_ancestor(world.git, directory, move.before, move.after)
    span = f"{move.before[:12]}...{move.after[:12]}"
    return {
        "ref": move.ref,
        "before": move.before,
        "after": move.after,
        "repository": repository.shape_for_push(world, repo),
        "pusher": {"name": actor.login, "email": actor.email},
        "created": created,
        "deleted": deleted,
        "forced": forced,
        "base_ref": None,
        "compare": f"{page}/compare/{move.branch or move.ref}" if created else f"{page}/compare/{span}",
        "commits": shapes,
        "head_commit": head,
    }


async def _commits(world: World, repo: Repository, move: Move) -> list[Commit]:
    """Oldest first, the newest twenty at most; for a new branch what the default branch does not have."""
    known = move.before
    if known == NOTHING:
        main = world.refs.branch(repo.id, repo.default_branch)
        known = main if main and main != move.after else ""
    if move.branch is None or (not known and move.branch != repo.default_branch):
        return []
    revisions = [move.after, *([f"^{known}"] if known else [])]
    return (await commits.log(world.git, world.directory(repo.id), revisions, limit=_MAX_COMMITS))[::-1]


async def _shape_commit(world: World, repo: Repository, commit: Commit) -> dict[str, Any]:
    paths = await commits.changed_paths(world.git, world.directory(repo.id), commit.sha)
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "distinct": True,
        "message": commit.message,
        "timestamp": commit.committer.date,
        "url": f"{world.url}/{repo.full_name}/commit/{commit.sha}",
        "author": _person(world, commit.author),
        "committer": _person(world, commit.committer),
        **paths,
    }


def _person(world: World, signature: Signature) -> dict[str, str]:
    known = world.account_of(signature.email)
    return {
        "name": signature.name,
        "email": signature.email,
        "date": signature.date,
        **({"username": known.login} if known else {}),
    }
