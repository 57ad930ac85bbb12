"""Pull requests: the record, opening one, and what happens to it when branches move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from infra.core.clock import Instant
from infra.local.forge import account, issue, repository
from infra.local.forge.account import Account, node_id, stamp
from infra.local.forge.git import commits
from infra.local.forge.git.refs import NOTHING, Move
from infra.local.forge.problem import validation_failed
from infra.local.forge.repository import Repository
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World


class Pull(Row, frozen=True, kw_only=True):
    """Title, body, labels and state live in the issue of the same number.

    ``head`` and ``base`` are branch names; ``head_sha`` follows its branch while the pull request is open, ``base_sha`` is
    where the base stood when the head was last pushed.
    """

    repository: int
    number: int
    head: str
    base: str
    head_sha: str
    base_sha: str
    draft: bool = False
    merged_at: Instant | None = None
    merged_by: int | None = None
    merge_commit_sha: str | None = None
    reviewers: tuple[int, ...] = ()


def find(world: World, repo: Repository, number: int) -> Pull | None:
    return world.pulls.at((repo.id, number))


def of(world: World, repo: Repository) -> list[Pull]:
    """Newest first."""
    return world.pulls.of(repo.id)[::-1]


def is_open(world: World, row: Pull) -> bool:
    return issue_of(world, row).state == "open"


def issue_of(world: World, row: Pull) -> issue.Issue:
    found = world.issues.at((row.repository, row.number))
    assert found is not None
    return found


async def open_pull(
    world: World, repo: Repository, actor: Account, *, title: str, body: str | None, head: str, base: str, draft: bool
) -> Pull:
    """Raises GitHub's own 422s: unknown branch, nothing to merge, one that is open already."""
    branch = _own_branch(repo, head)
    head_sha, base_sha = world.refs.branch(repo.id, branch), world.refs.branch(repo.id, base)
    if head_sha is None:
        raise validation_failed("PullRequest", field="head")
    if base_sha is None:
        raise validation_failed("PullRequest", field="base")
    _refuse_second(world, repo, branch, base)
    if await commits.is_ancestor(world.git, world.directory(repo.id), head_sha, base_sha):
        raise validation_failed("PullRequest", code="custom", message=f"No commits between {base} and {branch}")
    _refuse_second(world, repo, branch, base)  # another request may have been faster while git was asked
    entry = issue.record(world, repo, actor, title, body, is_pull=True)
    row = world.pulls.put(
        Pull(
            id=world.new_id(),
            repository=repo.id,
            number=entry.number,
            head=branch,
            base=base,
            head_sha=head_sha,
            base_sha=base_sha,
            draft=draft,
        )
    )
    await world.refs.move(repo.id, f"refs/pull/{row.number}/head", head_sha)
    await tell(world, repo, actor, row.number, "opened")
    return row


def _refuse_second(world: World, repo: Repository, head: str, base: str) -> None:
    if any(row.head == head and row.base == base and is_open(world, row) for row in of(world, repo)):
        message = f"A pull request already exists for {repo.owner_login}:{head}."
        raise validation_failed("PullRequest", code="custom", message=message)


def _own_branch(repo: Repository, head: str) -> str:
    """``branch`` or ``owner:branch``; there are no forks here."""
    owner, colon, branch = head.partition(":")
    if not colon:
        return head
    if owner.lower() != repo.owner_login.lower():
        raise validation_failed("PullRequest", field="head")
    return branch


async def branch_moved(world: World, repo: Repository, actor: Account, move: Move) -> None:
    for row in of(world, repo):
        if not is_open(world, row):
            continue
        if row.head == move.branch and move.after == NOTHING:
            await issue.set_state(world, repo, actor, issue_of(world, row), "closed")
        elif row.head == move.branch:
            await _synchronize(world, repo, actor, row, move)
        elif row.base == move.branch and move.after != NOTHING:
            await _merged_by_push(world, repo, actor, row, move.after)


async def _synchronize(world: World, repo: Repository, actor: Account, row: Pull, move: Move) -> None:
    base_sha = world.refs.branch(repo.id, row.base) or row.base_sha
    world.pulls.put(replace(row, head_sha=move.after, base_sha=base_sha))
    await world.refs.move(repo.id, f"refs/pull/{row.number}/head", move.after)
    issue.touch(world, issue_of(world, row))
    await tell(world, repo, actor, row.number, "synchronize", before=move.before, after=move.after)


async def _merged_by_push(world: World, repo: Repository, actor: Account, row: Pull, tip: str) -> None:
    """A base that already holds the head counts as merged, as on GitHub."""
    if await commits.is_ancestor(world.git, world.directory(repo.id), row.head_sha, tip):
        await mark_merged(world, repo, actor, row, tip)


async def mark_merged(world: World, repo: Repository, actor: Account, row: Pull, commit: str) -> None:
    world.pulls.put(replace(row, merged_at=world.now(), merged_by=actor.id, merge_commit_sha=commit))
    await issue.set_state(world, repo, actor, issue_of(world, row), "closed")


async def tell(world: World, repo: Repository, actor: Account, number: int, action: str, **extra: Any) -> None:
    row = find(world, repo, number)
    assert row is not None
    payload = {"action": action, "number": number, "pull_request": await shape(world, repo, row), **extra}
    world.webhooks.emit("pull_request", repo, actor, payload)


async def shape(world: World, repo: Repository, row: Pull) -> dict[str, Any]:
    """The full form: one pull request, and webhooks."""
    opened = is_open(world, row)
    totals = await world.differences.totals(repo.id, row.base_sha, row.head_sha)
    tip = world.refs.branch(repo.id, row.base) or row.base_sha
    mergeable = await world.differences.mergeable(repo.id, tip, row.head_sha) if opened else None
    state = "draft" if row.draft else {True: "clean", False: "dirty", None: "unknown"}[mergeable]
    return {
        **shape_short(world, repo, row),
        "merged": row.merged_at is not None,
        "mergeable": mergeable,
        "rebaseable": False,
        "mergeable_state": state if opened else "unknown",
        "merged_by": account.shape_id(world, row.merged_by),
        "comments": world.comments.count(issue_of(world, row).id),
        "review_comments": world.review_comments.count((repo.id, row.number)),
        "maintainer_can_modify": False,
        "commits": totals.commits,
        "additions": totals.additions,
        "deletions": totals.deletions,
        "changed_files": totals.changed_files,
    }


def shape_short(world: World, repo: Repository, row: Pull) -> dict[str, Any]:
    """The form in lists."""
    entry = issue.shape(world, repo, issue_of(world, row))
    api = world.api(f"/repos/{repo.full_name}")
    url, page = f"{api}/pulls/{row.number}", f"{world.url}/{repo.full_name}/pull/{row.number}"
    links = {
        "self": url,
        "html": page,
        "issue": f"{api}/issues/{row.number}",
        "comments": f"{api}/issues/{row.number}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{api}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{api}/statuses/{row.head_sha}",
    }
    same = ("number", "state", "locked", "title", "user", "body", "created_at", "updated_at", "closed_at")
    also = ("assignee", "assignees", "labels", "milestone", "author_association", "active_lock_reason")
    return {
        "url": url,
        "id": row.id,
        "node_id": node_id("PR", row.id),
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "issue_url": links["issue"],
        **{key: entry[key] for key in same},
        "merged_at": stamp(row.merged_at),
        "merge_commit_sha": row.merge_commit_sha,
        **{key: entry[key] for key in also},
        "requested_reviewers": [account.shape_id(world, person) for person in row.reviewers],
        "requested_teams": [],
        "draft": row.draft,
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "comments_url": links["comments"],
        "statuses_url": links["statuses"],
        "head": _side(world, repo, row.head, row.head_sha),
        "base": _side(world, repo, row.base, row.base_sha),
        "_links": {name: {"href": target} for name, target in links.items()},
        "auto_merge": None,
    }


def _side(world: World, repo: Repository, branch: str, sha: str) -> dict[str, Any]:
    return {
        "label": f"{repo.owner_login}:{branch}",
        "ref": branch,
        "sha": sha,
        "user": account.shape_id(world, repo.owner),
        "repo": {**repository.shape(world, repository.current(world, repo)), **repository.MERGING},
    }


def reference(world: World, repo: Repository, row: Pull) -> dict[str, Any]:
    """The few facts with which check runs name their pull requests."""
    short = {"id": repo.id, "url": world.api(f"/repos/{repo.full_name}"), "name": repo.name}
    return {
        "url": world.api(f"/repos/{repo.full_name}/pulls/{row.number}"),
        "id": row.id,
        "number": row.number,
        "head": {"ref": row.head, "sha": row.head_sha, "repo": short},
        "base": {"ref": row.base, "sha": row.base_sha, "repo": short},
    }
