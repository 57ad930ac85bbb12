"""Issues. Those that are pull requests answer here, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.core.clock import Instant
from infra.local.forge import access, account, issue
from infra.local.forge.access import Need
from infra.local.forge.account import Account
from infra.local.forge.issue import Issue
from infra.local.forge.problem import Refusal, validation_failed
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply, found

_MAX_TITLE = 256
_MAX_BODY = 65_536
"""https://github.com/orgs/community/discussions/27190 (title 256, body 65,536 characters)"""


def target(call: Call, level: str, role: str = "read") -> Issue:
    """The issue in the path. ``pull_requests`` opens it only if it is a pull request."""
    row = found(issue.find(call.world, call.repo, call.number()))
    demand(call, row, level, role)
    return row


def demand(call: Call, row: Issue, level: str, role: str = "read") -> None:
    permissions = ("issues", "pull_requests") if row.is_pull else ("issues",)
    access.demand(call.world, call.identity, call.repo, Need(permissions, level, role))


def own_or(call: Call, author: int, role: str) -> None:
    """People may change what they wrote themselves; anything else takes ``role``."""
    if call.actor.id != author:
        access.demand(call.world, call.identity, call.repo, Need(("issues", "pull_requests"), "write", role))


def checked_text(text: str, *, resource: str, field: str, limit: int = _MAX_BODY) -> str:
    if not text.strip():
        raise validation_failed(resource, field=field, code="missing_field")
    if len(text) > limit:
        message = f"{field} is too long (maximum is {limit} characters)"
        raise validation_failed(resource, field=field, code="custom", message=message)
    return text


class NewIssue(Body, frozen=True, kw_only=True):
    title: str | int
    body: str | None = None
    labels: tuple[str | dict[str, Any], ...] = ()
    assignees: tuple[str, ...] = ()


async def create_issue(call: Call) -> Reply:
    new = call.body(NewIssue)
    title = checked_text(str(new.title), resource="Issue", field="title", limit=_MAX_TITLE)
    # Without the right to label, GitHub drops labels and assignees silently.
    trusted = call.identity.app is not None or access.at_least(access.role_of(call.repo, call.actor.id), "triage")
    row = await issue.open_issue(
        call.world,
        call.repo,
        call.actor,
        title=title,
        body=new.body,
        labels=label_names(new.labels) if trusted else (),
        assignees=people(call, new.assignees) if trusted else (),
    )
    return Reply(status=201, data=issue.shape(call.world, call.repo, row))


async def get_issue(call: Call) -> Reply:
    return Reply(data=issue.shape(call.world, call.repo, target(call, "read")))


class IssueChange(Body, frozen=True, kw_only=True):
    title: str | int | None = None
    body: str | None = None
    state: str | None = None
    state_reason: str | None = None
    labels: list[str | dict[str, Any]] | None = None
    assignees: list[str] | None = None


async def change_issue(call: Call) -> Reply:
    row, change = target(call, "write"), call.body(IssueChange)
    own_or(call, row.author, "triage")
    if change.state not in {None, "open", "closed"}:
        raise validation_failed("Issue", field="state")
    world, repo, actor = call.world, call.repo, call.actor
    if change.title is not None or "body" in call.json:
        title = row.title if change.title is None else str(change.title)
        checked_text(title, resource="Issue", field="title", limit=_MAX_TITLE)
        body = change.body if "body" in call.json else row.body
        row = await issue.edit_text(world, repo, actor, row, title=title, body=body)
    if change.labels is not None:
        row = await issue.set_labels(world, repo, actor, row, label_names(change.labels))
    if change.assignees is not None:
        row = await issue.set_assignees(world, repo, actor, row, people(call, change.assignees))
    if change.state is not None:
        row = await issue.set_state(world, repo, actor, row, change.state, reason=change.state_reason)
    return Reply(data=issue.shape(world, repo, row))


async def list_issues(call: Call) -> Reply:
    rows = sort(call, [row for row in issue.of(call.world, call.repo) if _matches(call, row)])
    shown, headers = paging.cut(call, rows)
    return Reply(data=[issue.shape(call.world, call.repo, row) for row in shown], headers=headers)


def _matches(call: Call, row: Issue) -> bool:
    query = call.query
    labels = [name.strip().lower() for name in query.get("labels", "").split(",") if name.strip()]
    worn = {entry.name.lower() for entry in map(call.world.labels.get, row.labels) if entry}
    checks = (
        query.get("state", "open") in {"all", row.state},
        worn.issuperset(labels),
        _is_login(call, query.get("creator"), (row.author,)),
        _is_login(call, query.get("assignee"), row.assignees),
        (account.stamp(row.updated_at) or "") >= query.get("since", ""),
    )
    return all(checks)


def _is_login(call: Call, login: str | None, ids: Sequence[int]) -> bool:
    if login is None or login == "*":
        return login is None or bool(ids)
    if login == "none":
        return not ids
    person = account.find(call.world, login)
    return person is not None and person.id in ids


def sort(call: Call, rows: list[Issue]) -> list[Issue]:
    """``sort`` created, updated or comments; ``direction`` desc unless asked."""

    def value(row: Issue) -> tuple[Instant | int, int]:
        kind = call.query.get("sort")
        if kind == "comments":
            return call.world.comments.count(row.id), row.number
        return row.updated_at if kind == "updated" else row.created_at, row.number

    return sorted(rows, key=value, reverse=call.query.get("direction", "desc") != "asc")


class People(Body, frozen=True, kw_only=True):
    assignees: list[str]


async def add_assignees(call: Call) -> Reply:
    row = target(call, "write", "triage")
    kept = [person for person in map(call.world.accounts.get, row.assignees) if person]
    chosen = [*kept, *people(call, call.body(People).assignees)]
    row = await issue.set_assignees(call.world, call.repo, call.actor, row, chosen)
    return Reply(status=201, data=issue.shape(call.world, call.repo, row))


async def remove_assignees(call: Call) -> Reply:
    row = target(call, "write", "triage")
    gone = {login.lower() for login in call.body(People).assignees}
    kept = [person for person in map(call.world.accounts.get, row.assignees) if person]
    chosen = [person for person in kept if person.login.lower() not in gone]
    row = await issue.set_assignees(call.world, call.repo, call.actor, row, chosen)
    return Reply(data=issue.shape(call.world, call.repo, row))


def label_names(given: Sequence[str | dict[str, Any]]) -> list[str]:
    """Labels come as names or as objects with a name."""
    names = [str(entry.get("name", "")) if isinstance(entry, dict) else entry for entry in given]
    if not all(name.strip() for name in names):
        raise validation_failed("Label", field="name", code="missing_field")
    return names


def people(call: Call, logins: Sequence[str]) -> list[Account]:
    known = [account.find(call.world, login) for login in logins]
    present = [person for person in known if person is not None]
    if len(present) < len(known):
        raise validation_failed("Issue", field="assignees")
    return present


def refuse_unknown(value: str, allowed: Sequence[str], *, resource: str, field: str) -> None:
    if value not in allowed:
        raise Refusal(422, "Validation Failed", errors=[{"resource": resource, "field": field, "code": "invalid"}])
