"""Merging a pull request through the forge, for real, in git."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.local.forge import account, issue, pull, push
from infra.local.forge.account import Account
from infra.local.forge.git import commits, merge
from infra.local.forge.git.commits import Signature
from infra.local.forge.git.processes import GitFailed
from infra.local.forge.git.refs import Move
from infra.local.forge.problem import Refusal
from infra.local.forge.pull import Pull
from infra.local.forge.repository import Repository

if TYPE_CHECKING:
    from infra.local.forge.world import World

_MAX_COMMITS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to merge: ``method`` merge or squash; texts are GitHub's own when None; ``head``: only if it is still this."""

    method: str
    title: str | None
    message: str | None
    head: str | None


async def merge_pull(world: World, repo: Repository, actor: Account, row: Pull, wish: Wish) -> str:
    """The id of the new commit. Raises 405 (cannot be merged) and 409 (somebody moved a branch) as GitHub does."""
    base_sha = world.refs.branch(repo.id, row.base)
    if not pull.is_open(world, row) or base_sha is None:
        raise Refusal(405, "Pull Request is not mergeable")
    if row.draft:
        raise Refusal(405, "Pull Request is still a draft")
    if wish.method == "rebase":
        raise Refusal(405, "Rebase merges are not allowed on this repository.")
    if wish.head not in {None, row.head_sha}:
        raise Refusal(409, "Head branch was modified. Review and try the merge again.")
    tree = await merge.merged_tree(world.git, world.directory(repo.id), base_sha, row.head_sha)
    if tree is None:
        raise Refusal(405, "Pull Request is not mergeable")
    text = await _message(world, repo, row, wish)
    author = Signature(name=actor.login, email=actor.email, date=account.stamp(world.now()) or "")
    commit = await merge.commit_tree(
        world.git,
        world.directory(repo.id),
        tree=tree,
        parents=[base_sha] if wish.method == "squash" else [base_sha, row.head_sha],
        message=text,
        author=author,
        committer=Signature(name="GitHub", email="noreply@github.com", date=author.date),
    )
    await _advance(world, repo, actor, row, Move(f"refs/heads/{row.base}", base_sha, commit))
    return commit


async def _advance(world: World, repo: Repository, actor: Account, row: Pull, move: Move) -> None:
    try:
        await world.refs.move(repo.id, move.ref, move.after, move.before)
    except GitFailed:
        raise Refusal(409, "Base branch was modified. Review and try the merge again.") from None
    await pull.mark_merged(world, repo, actor, row, move.after)
    await push.moved(world, repo, actor, [move])
    if row.base == repo.default_branch:
        await push.close_mentioned(world, repo, actor, pull.issue_of(world, row).body or "")


async def _message(world: World, repo: Repository, row: Pull, wish: Wish) -> str:
    entry: issue.Issue = pull.issue_of(world, row)
    if wish.method == "squash":
        subject = wish.title or f"{entry.title} (#{row.number})"
        body = wish.message if wish.message is not None else await _commit_list(world, repo, row)
    else:
        subject = wish.title or f"Merge pull request #{row.number} from {repo.owner_login}/{row.head}"
        body = wish.message if wish.message is not None else entry.title
    return f"{subject}\n\n{body}".strip()


async def _commit_list(world: World, repo: Repository, row: Pull) -> str:
    listed = await commits.log(
        world.git, world.directory(repo.id), [row.head_sha, f"^{row.base_sha}"], limit=_MAX_COMMITS
    )
    return "\n\n".join(f"* {commit.message}" for commit in reversed(listed))
