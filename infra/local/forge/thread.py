"""Review threads: the comments that answer one comment on a line, and whether somebody has resolved them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.forge import pull, review
from infra.local.forge.account import Account, node_id
from infra.local.forge.pull import Pull
from infra.local.forge.repository import Repository
from infra.local.forge.review import ReviewComment
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World


class Resolution(Row, frozen=True, kw_only=True):
    """``id``: of the comment that opened the thread."""

    by: int


def of(world: World, row: Pull) -> dict[int, list[ReviewComment]]:
    """Opening comment's id → all comments, oldest first."""
    threads: dict[int, list[ReviewComment]] = {}
    for comment in review.comments_of(world, row):
        threads.setdefault(comment.in_reply_to or comment.id, []).append(comment)
    return threads


def name(top: int) -> str:
    """The opaque id."""
    return node_id("PRRT", top)


def find(world: World, wanted: str) -> ReviewComment | None:
    """The comment that opened the thread with this opaque id."""
    return next((one for one in world.review_comments if one.in_reply_to is None and name(one.id) == wanted), None)


def resolved(world: World, top: int) -> bool:
    return world.resolutions.get(top) is not None


def resolve(world: World, repo: Repository, actor: Account, top: ReviewComment) -> None:
    """Tells everybody, the first time."""
    if resolved(world, top.id):
        return
    world.resolutions.put(Resolution(id=top.id, by=actor.id))
    row = pull.find(world, repo, top.number)
    assert row is not None
    comments = of(world, row).get(top.id, [])
    payload = {
        "action": "resolved",
        "pull_request": pull.shape_short(world, repo, row),
        "thread": {
            "node_id": name(top.id),
            "comments": [review.shape_comment(world, repo, comment) for comment in comments],
        },
    }
    world.webhooks.emit("pull_request_review_thread", repo, actor, payload)
