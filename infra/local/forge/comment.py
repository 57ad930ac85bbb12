"""Comments on issues and pull requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from infra.core.clock import Instant
from infra.local.forge import account, issue, reaction, repository
from infra.local.forge.account import Account, node_id, stamp
from infra.local.forge.issue import Issue
from infra.local.forge.repository import Repository
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World


class Comment(Row, frozen=True, kw_only=True):
    """``issue``: the id of the issue (or of the pull request's issue) it stands under."""

    repository: int
    issue: int
    number: int
    author: int
    body: str
    created_at: Instant
    updated_at: Instant


def of(world: World, parent: Issue) -> list[Comment]:
    return world.comments.of(parent.id)


def add(world: World, repo: Repository, actor: Account, parent: Issue, body: str) -> Comment:
    now = world.now()
    row = world.comments.put(
        Comment(
            id=world.new_id(),
            repository=repo.id,
            issue=parent.id,
            number=parent.number,
            author=actor.id,
            body=body,
            created_at=now,
            updated_at=now,
        )
    )
    issue.touch(world, parent)
    _tell(world, repo, actor, row, "created")
    return row


def edit(world: World, repo: Repository, actor: Account, row: Comment, body: str) -> Comment:
    changed = world.comments.put(replace(row, body=body, updated_at=world.now()))
    _tell(world, repo, actor, changed, "edited", changes={"body": {"from": row.body}})
    return changed


def remove(world: World, repo: Repository, actor: Account, row: Comment) -> None:
    world.comments.delete(row)
    _tell(world, repo, actor, row, "deleted")


def _tell(world: World, repo: Repository, actor: Account, row: Comment, action: str, **extra: Any) -> None:
    parent = world.issues.get(row.issue)
    assert parent is not None
    payload = {
        "action": action,
        **extra,
        "issue": issue.shape(world, repo, parent),
        "comment": shape(world, repo, row),
    }
    world.webhooks.emit("issue_comment", repo, actor, payload)


def shape(world: World, repo: Repository, row: Comment) -> dict[str, Any]:
    url = world.api(f"/repos/{repo.full_name}/issues/comments/{row.id}")
    parent = world.issues.get(row.issue)
    kind = "pull" if parent and parent.is_pull else "issues"
    return {
        "url": url,
        "html_url": f"{world.url}/{repo.full_name}/{kind}/{row.number}#issuecomment-{row.id}",
        "issue_url": world.api(f"/repos/{repo.full_name}/issues/{row.number}"),
        "id": row.id,
        "node_id": node_id("IC", row.id),
        "user": account.shape_id(world, row.author),
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "author_association": repository.association(repo, row.author),
        "body": row.body,
        "reactions": reaction.summary(world, row.id, url),
        "performed_via_github_app": None,
    }
