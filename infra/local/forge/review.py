"""Reviews of pull requests and the comments on lines that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from infra.core.clock import Instant
from infra.local.forge import account, issue, pull, reaction, repository
from infra.local.forge.account import Account, node_id, stamp
from infra.local.forge.git import diff
from infra.local.forge.problem import Refusal
from infra.local.forge.pull import Pull
from infra.local.forge.repository import Repository
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World

STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
"""Event asked for → state stored; without an event a review is PENDING."""


class Review(Row, frozen=True, kw_only=True):
    repository: int
    number: int
    author: int
    body: str
    state: str
    commit: str
    submitted_at: Instant | None


class ReviewComment(Row, frozen=True, kw_only=True):
    """``line`` on ``side`` (RIGHT: new text, LEFT: old text) of ``path``, as of ``commit``."""

    repository: int
    number: int
    review: int
    author: int
    body: str
    path: str
    line: int
    side: str
    start_line: int | None = None
    start_side: str | None = None
    commit: str
    hunk: str
    in_reply_to: int | None = None
    created_at: Instant
    updated_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a comment goes; made by ``locate``, so the diff is known to show it."""

    path: str
    line: int
    side: str
    start_line: int | None
    start_side: str | None
    hunk: str


def of(world: World, row: Pull) -> list[Review]:
    return world.reviews.of((row.repository, row.number))


def comments_of(world: World, row: Pull) -> list[ReviewComment]:
    return world.review_comments.of((row.repository, row.number))


async def locate(
    world: World,
    repo: Repository,
    row: Pull,
    *,
    path: str,
    line: int,
    side: str,
    start_line: int | None,
    start_side: str | None,
) -> Spot:
    """Raises GitHub's 422 when the pull request's diff does not show that line."""
    changes = {change.path: change for change in await world.differences.files(repo.id, row.base_sha, row.head_sha)}
    change = changes.get(path)
    if change is None:
        raise Refusal(422, "Unprocessable Entity", errors=["Path could not be resolved"])
    hunk = diff.hunk_up_to(change.patch or "", line, side)
    if hunk is None:
        raise Refusal(422, "Unprocessable Entity", errors=["Line could not be resolved"])
    return Spot(path=path, line=line, side=side, start_line=start_line, start_side=start_side or side, hunk=hunk)


def start(world: World, row: Pull, actor: Account, *, body: str, state: str, commit: str) -> Review:
    """Stores a review and tells nobody yet."""
    return world.reviews.put(
        Review(
            id=world.new_id(),
            repository=row.repository,
            number=row.number,
            author=actor.id,
            body=body,
            state=state,
            commit=commit,
            submitted_at=None if state == "PENDING" else world.now(),
        )
    )


def attach(world: World, review: Review, spot: Spot, body: str, in_reply_to: int | None = None) -> ReviewComment:
    now = world.now()
    return world.review_comments.put(
        ReviewComment(
            id=world.new_id(),
            repository=review.repository,
            number=review.number,
            review=review.id,
            author=review.author,
            body=body,
            path=spot.path,
            line=spot.line,
            side=spot.side,
            start_line=spot.start_line,
            start_side=spot.start_side if spot.start_line else None,
            commit=review.commit,
            hunk=spot.hunk,
            in_reply_to=in_reply_to,
            created_at=now,
            updated_at=now,
        )
    )


async def tell(world: World, repo: Repository, actor: Account, review: Review) -> None:
    """A submitted review: the review's event, then one for each of its comments."""
    row = pull.find(world, repo, review.number)
    assert row is not None
    issue.touch(world, pull.issue_of(world, row))
    shown = {**shape(world, repo, review), "state": review.state.lower()}
    payload = {"action": "submitted", "review": shown, "pull_request": pull.shape_short(world, repo, row)}
    world.webhooks.emit("pull_request_review", repo, actor, payload)
    for comment in comments_of(world, row):
        if comment.review == review.id:
            tell_comment(world, repo, actor, comment, "created")


def tell_comment(
    world: World, repo: Repository, actor: Account, comment: ReviewComment, action: str, **extra: Any
) -> None:
    row = pull.find(world, repo, comment.number)
    assert row is not None
    payload = {
        "action": action,
        **extra,
        "comment": shape_comment(world, repo, comment),
        "pull_request": pull.shape_short(world, repo, row),
    }
    world.webhooks.emit("pull_request_review_comment", repo, actor, payload)


async def submit(world: World, repo: Repository, actor: Account, review: Review, *, state: str, body: str) -> Review:
    submitted = world.reviews.put(replace(review, state=state, body=body, submitted_at=world.now()))
    await tell(world, repo, actor, submitted)
    return submitted


def edit_comment(world: World, repo: Repository, actor: Account, row: ReviewComment, body: str) -> ReviewComment:
    changed = world.review_comments.put(replace(row, body=body, updated_at=world.now()))
    tell_comment(world, repo, actor, changed, "edited", changes={"body": {"from": row.body}})
    return changed


def remove_comment(world: World, repo: Repository, actor: Account, row: ReviewComment) -> None:
    world.review_comments.delete(row)
    tell_comment(world, repo, actor, row, "deleted")


def shape(world: World, repo: Repository, row: Review) -> dict[str, Any]:
    target = world.api(f"/repos/{repo.full_name}/pulls/{row.number}")
    page = f"{world.url}/{repo.full_name}/pull/{row.number}#pullrequestreview-{row.id}"
    return {
        "id": row.id,
        "node_id": node_id("PRR", row.id),
        "user": account.shape_id(world, row.author),
        "body": row.body,
        "state": row.state,
        "html_url": page,
        "pull_request_url": target,
        "author_association": repository.association(repo, row.author),
        "_links": {"html": {"href": page}, "pull_request": {"href": target}},
        "submitted_at": stamp(row.submitted_at),
        "commit_id": row.commit,
    }


def shape_comment(world: World, repo: Repository, row: ReviewComment) -> dict[str, Any]:
    target = world.api(f"/repos/{repo.full_name}/pulls/{row.number}")
    url = world.api(f"/repos/{repo.full_name}/pulls/comments/{row.id}")
    page = f"{world.url}/{repo.full_name}/pull/{row.number}#discussion_r{row.id}"
    return {
        "url": url,
        "pull_request_review_id": row.review,
        "id": row.id,
        "node_id": node_id("PRRC", row.id),
        "diff_hunk": row.hunk,
        "path": row.path,
        "commit_id": row.commit,
        "original_commit_id": row.commit,
        "user": account.shape_id(world, row.author),
        "body": row.body,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "html_url": page,
        "pull_request_url": target,
        "author_association": repository.association(repo, row.author),
        "_links": {"self": {"href": url}, "html": {"href": page}, "pull_request": {"href": target}},
        "reactions": reaction.summary(world, row.id, url),
        "start_line": row.start_line,
        "original_start_line": row.start_line,
        "start_side": row.start_side,
        "line": row.line,
        "original_line": row.line,
        "side": row.side,
        **({"in_reply_to_id": row.in_reply_to} if row.in_reply_to else {}),
        "position": row.hunk.count("\n"),
        "original_position": row.hunk.count("\n"),
        "subject_type": "line",
    }
