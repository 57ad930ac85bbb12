"""Issues: the record, what can be done to one, and the webhooks that tell of it. A pull request is an issue, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from infra.core.clock import Instant
from infra.local.forge import account, label, pull, reaction, repository
from infra.local.forge.account import Account, node_id, stamp
from infra.local.forge.repository import Repository
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World


class Issue(Row, frozen=True, kw_only=True):
    """``labels`` and ``assignees`` hold ids. ``is_pull``: a ``Pull`` row with the same number exists."""

    repository: int
    number: int
    title: str
    body: str | None
    author: int
    state: str = "open"
    state_reason: str | None = None
    labels: tuple[int, ...] = ()
    assignees: tuple[int, ...] = ()
    is_pull: bool = False
    created_at: Instant
    updated_at: Instant
    closed_at: Instant | None = None
    closed_by: int | None = None


def find(world: World, repo: Repository, number: int) -> Issue | None:
    return world.issues.at((repo.id, number))


def of(world: World, repo: Repository) -> list[Issue]:
    """Newest first."""
    return world.issues.of(repo.id)[::-1]


def record(world: World, repo: Repository, actor: Account, title: str, body: str | None, *, is_pull: bool) -> Issue:
    """Stores a new issue and tells nobody."""
    now = world.now()
    return world.issues.put(
        Issue(
            id=world.new_id(),
            repository=repo.id,
            number=repository.next_number(world, repo),
            title=title,
            body=body,
            author=actor.id,
            is_pull=is_pull,
            created_at=now,
            updated_at=now,
        )
    )


async def open_issue(
    world: World,
    repo: Repository,
    actor: Account,
    *,
    title: str,
    body: str | None = None,
    labels: Sequence[str] = (),
    assignees: Sequence[Account] = (),
) -> Issue:
    """GitHub tells ``opened`` with everything in place, and then each label and assignee once more."""
    issue = record(world, repo, actor, title, body, is_pull=False)
    chosen = [label.ensure(world, repo, name) for name in dict.fromkeys(labels)]
    issue = world.issues.put(
        replace(issue, labels=tuple(row.id for row in chosen), assignees=tuple(person.id for person in assignees))
    )
    await tell(world, repo, actor, issue, "opened")
    for row in chosen:
        await tell(world, repo, actor, issue, "labeled", label=label.shape(world, repo, row))
    for person in assignees:
        await tell(world, repo, actor, issue, "assigned", assignee=account.shape(world, person))
    return issue


async def set_labels(world: World, repo: Repository, actor: Account, issue: Issue, names: Sequence[str]) -> Issue:
    """Replaces the labels; unknown names become labels. One webhook per label that came or went."""
    wanted = [label.ensure(world, repo, name) for name in dict.fromkeys(names)]
    wanted_ids = tuple(dict.fromkeys(row.id for row in wanted))
    gone = [row for row in map(world.labels.get, issue.labels) if row and row.id not in wanted_ids]
    new = [row for row in wanted if row.id not in issue.labels]
    issue = _update(world, issue, labels=wanted_ids)
    for row in gone:
        await tell(world, repo, actor, issue, "unlabeled", label=label.shape(world, repo, row))
    for row in dict.fromkeys(new):
        await tell(world, repo, actor, issue, "labeled", label=label.shape(world, repo, row))
    return issue


async def set_assignees(
    world: World, repo: Repository, actor: Account, issue: Issue, people: Sequence[Account]
) -> Issue:
    before = [row for row in map(world.accounts.get, issue.assignees) if row]
    issue = _update(world, issue, assignees=tuple(dict.fromkeys(person.id for person in people)))
    for person in before:
        if person not in people:
            await tell(world, repo, actor, issue, "unassigned", assignee=account.shape(world, person))
    for person in dict.fromkeys(people):
        if person not in before:
            await tell(world, repo, actor, issue, "assigned", assignee=account.shape(world, person))
    return issue


async def edit_text(
    world: World, repo: Repository, actor: Account, issue: Issue, *, title: str, body: str | None
) -> Issue:
    changes: dict[str, Any] = {}
    if title != issue.title:
        changes["title"] = {"from": issue.title}
    if body != issue.body:
        changes["body"] = {"from": issue.body or ""}
    if not changes:
        return issue
    issue = _update(world, issue, title=title, body=body)
    await tell(world, repo, actor, issue, "edited", changes=changes)
    return issue


async def set_state(
    world: World, repo: Repository, actor: Account, issue: Issue, state: str, *, reason: str | None = None
) -> Issue:
    if state == issue.state:
        return issue
    if state == "closed":
        reason = None if issue.is_pull else (reason or "completed")
        issue = _update(world, issue, state=state, state_reason=reason, closed_at=world.now(), closed_by=actor.id)
    else:
        reason = None if issue.is_pull else "reopened"
        issue = _update(world, issue, state=state, state_reason=reason, closed_at=None, closed_by=None)
    await tell(world, repo, actor, issue, "closed" if state == "closed" else "reopened")
    return issue


def touch(world: World, issue: Issue) -> Issue:
    """Something below the issue changed: a comment, a push."""
    return _update(world, issue)


def _update(world: World, issue: Issue, **changes: Any) -> Issue:
    return world.issues.put(replace(issue, updated_at=world.now(), **changes))


async def tell(world: World, repo: Repository, actor: Account, issue: Issue, action: str, **extra: Any) -> None:
    """For a pull request the same happening has another event's name."""
    if issue.is_pull:
        await pull.tell(world, repo, actor, issue.number, action, **extra)
    else:
        world.webhooks.emit("issues", repo, actor, {"action": action, "issue": shape(world, repo, issue), **extra})


def shape(world: World, repo: Repository, row: Issue) -> dict[str, Any]:
    url = world.api(f"/repos/{repo.full_name}/issues/{row.number}")
    page = f"{world.url}/{repo.full_name}/{'pull' if row.is_pull else 'issues'}/{row.number}"
    assignees = [account.shape_id(world, person) for person in row.assignees]
    comments = world.comments.count(row.id)
    return {
        "url": url,
        "repository_url": world.api(f"/repos/{repo.full_name}"),
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": page,
        "id": row.id,
        "node_id": node_id("I", row.id),
        "number": row.number,
        "title": row.title,
        "user": account.shape_id(world, row.author),
        "labels": [label.shape(world, repo, entry) for entry in map(world.labels.get, row.labels) if entry],
        "state": row.state,
        "locked": False,
        "assignee": assignees[0] if assignees else None,
        "assignees": assignees,
        "milestone": None,
        "comments": comments,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "closed_at": stamp(row.closed_at),
        "author_association": repository.association(repo, row.author),
        "type": None,
        "active_lock_reason": None,
        **_pull_link(world, repo, row),
        "body": row.body,
        "closed_by": account.shape_id(world, row.closed_by),
        "reactions": reaction.summary(world, row.id, url),
        "timeline_url": f"{url}/timeline",
        "performed_via_github_app": None,
        "state_reason": row.state_reason,
    }


def _pull_link(world: World, repo: Repository, row: Issue) -> dict[str, Any]:
    if not row.is_pull:
        return {}
    page = f"{world.url}/{repo.full_name}/pull/{row.number}"
    merged = pull.find(world, repo, row.number)
    link = {
        "url": world.api(f"/repos/{repo.full_name}/pulls/{row.number}"),
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "merged_at": stamp(merged.merged_at) if merged else None,
    }
    return {"draft": merged.draft if merged else False, "pull_request": link}
