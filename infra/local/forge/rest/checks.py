"""Check runs and commit statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from infra.core.clock import Instant
from infra.local.forge import check, repository
from infra.local.forge.check import CheckRun, CommitStatus
from infra.local.forge.problem import Refusal, not_found, validation_failed
from infra.local.forge.rest import paging
from infra.local.forge.rest.commits import resolved
from infra.local.forge.rest.http import Body, Call, Reply
from infra.local.forge.rest.issues import refuse_unknown

_MAX_ANNOTATIONS = 50
_MAX_TEXT = 65_535


class CheckChange(Body, frozen=True, kw_only=True):
    name: str | None = None
    status: str | None = None
    conclusion: str | None = None
    external_id: str | None = None
    details_url: str | None = None
    output: dict[str, Any] | None = None
    actions: list[dict[str, str]] | None = None


class NewCheck(CheckChange, frozen=True, kw_only=True):
    name: str
    head_sha: str


async def create_check(call: Call) -> Reply:
    if call.identity.app is None:
        raise Refusal(403, "You must authenticate via a GitHub App.")
    new = call.body(NewCheck)
    sha = await call.world.refs.resolve(call.repo.id, new.head_sha)
    if sha is None:
        raise Refusal(422, f"No commit found for SHA: {new.head_sha}")
    row = CheckRun(
        id=call.world.new_id(),
        repository=call.repo.id,
        app=call.identity.app.id,
        suite=check.suite_for(call.world, call.repo, call.identity.app.id, sha),
        sha=sha,
        name=new.name,
        status="queued",
        conclusion=None,
        started_at=call.world.now(),
    )
    row = call.world.checks.put(_changed(call, row, new))
    _tell(call, row, "created")
    return Reply(status=201, data=check.shape(call.world, call.repo, row))


async def change_check(call: Call) -> Reply:
    row = _one(call)
    if call.identity.app is None or row.app != call.identity.app.id:
        raise Refusal(403, "Invalid app_id - check run can only be modified by the GitHub App that created it.")
    was_open = row.status != "completed"
    row = call.world.checks.put(_changed(call, row, call.body(CheckChange)))
    if was_open and row.status == "completed":
        _tell_end(call, row)
    return Reply(data=check.shape(call.world, call.repo, row))


def _tell(call: Call, row: CheckRun, action: str) -> None:
    check.tell(call.world, call.repo, call.actor, row, action)
    if row.status == "completed":
        _tell_end(call, row)


def _tell_end(call: Call, row: CheckRun) -> None:
    check.tell(call.world, call.repo, call.actor, row, "completed")
    check.tell_suite(call.world, call.repo, call.actor, row)


def _changed(call: Call, row: CheckRun, change: CheckChange) -> CheckRun:
    status = "completed" if change.conclusion else (change.status or row.status)
    refuse_unknown(status, check.STATUSES, resource="CheckRun", field="status")
    if change.conclusion is not None:
        refuse_unknown(change.conclusion, check.CONCLUSIONS, resource="CheckRun", field="conclusion")
    if status == "completed" and not (change.conclusion or row.conclusion):
        raise validation_failed("CheckRun", field="conclusion", code="missing_field")
    output = {**row.output, **(change.output or {})}
    _check_output(output, change.output or {})
    if change.output and "annotations" in change.output:  # annotations add up, the rest is replaced
        output["annotations"] = [*row.output.get("annotations", []), *change.output["annotations"]]
    completed: Instant | None = (row.completed_at or call.world.now()) if status == "completed" else None
    return replace(
        row,
        name=change.name or row.name,
        status=status,
        conclusion=change.conclusion or (row.conclusion if status == "completed" else None),
        external_id=row.external_id if change.external_id is None else change.external_id,
        details_url=change.details_url or row.details_url,
        output=output,
        actions=row.actions if change.actions is None else tuple(change.actions),
        completed_at=completed,
    )


def _check_output(output: dict[str, Any], given: dict[str, Any]) -> None:
    """https://docs.github.com/rest/checks/runs: title and summary belong together; 50 annotations, 65,535 characters."""
    if given and not (isinstance(output.get("title"), str) and isinstance(output.get("summary"), str)):
        field = "summary" if output.get("title") else "title"
        raise validation_failed("CheckRun", field=f"output.{field}", code="missing_field")
    annotations = given.get("annotations", [])
    if not isinstance(annotations, list) or len(annotations) > _MAX_ANNOTATIONS:
        raise validation_failed("CheckRun", field="output.annotations")
    for field in ("summary", "text"):
        if len(str(given.get(field) or "")) > _MAX_TEXT:
            message = f"Only {_MAX_TEXT} characters are allowed."
            raise validation_failed("CheckRun", field=f"output.{field}", code="custom", message=message)


def _one(call: Call) -> CheckRun:
    row = call.world.checks.get(call.number("check"))
    if row is None or row.repository != call.repo.id:
        raise not_found()
    return row


async def get_check(call: Call) -> Reply:
    return Reply(data=check.shape(call.world, call.repo, _one(call)))


async def rerun(call: Call) -> Reply:
    """Of a job, or of an App's own check, which the App hears of and does by itself."""
    row = call.world.checks.put(replace(_one(call), status="queued", conclusion=None, completed_at=None))
    check.tell(call.world, call.repo, call.actor, row, "rerequested")
    return Reply(status=201, data={})


async def list_annotations(call: Call) -> Reply:
    return paging.reply(call, _one(call).output.get("annotations", []))


async def list_checks(call: Call) -> Reply:
    sha = await resolved(call, call.parameters["ref"])
    query = call.query
    rows = [
        row
        for row in check.runs_on(call.world, call.repo, sha)
        if query.get("check_name") in {None, row.name}
        and query.get("status") in {None, row.status}
        and query.get("app_id") in {None, str(row.app)}
    ]
    if query.get("filter", "latest") == "latest":
        newest = {(row.app, row.name): row for row in reversed(rows)}
        rows = [row for row in rows if newest[row.app, row.name] is row]
    shown, headers = paging.cut(call, rows)
    shapes = [check.shape(call.world, call.repo, row) for row in shown]
    return Reply(data={"total_count": len(rows), "check_runs": shapes}, headers=headers)


class NewStatus(Body, frozen=True, kw_only=True):
    state: str
    target_url: str | None = None
    description: str | None = None
    context: str = "default"


async def create_status(call: Call) -> Reply:
    new = call.body(NewStatus)
    refuse_unknown(new.state, check.STATES, resource="Status", field="state")
    row = call.world.statuses.put(
        CommitStatus(
            id=call.world.new_id(),
            repository=call.repo.id,
            sha=await resolved(call, call.parameters["sha"]),
            state=new.state,
            context=new.context,
            description=new.description,
            target_url=new.target_url,
            creator=call.actor.id,
            created_at=call.world.now(),
        )
    )
    return Reply(status=201, data=check.shape_status(call.world, call.repo, row))


async def list_statuses(call: Call) -> Reply:
    return paging.reply(call, [check.shape_status(call.world, call.repo, row) for row in (await _statuses(call))[::-1]])


async def get_combined_status(call: Call) -> Reply:
    newest = list({row.context: row for row in await _statuses(call)}.values())
    sha = await resolved(call, call.parameters["ref"])
    api = call.world.api(f"/repos/{call.repo.full_name}")
    return Reply(
        data={
            "state": _combined([row.state for row in newest]),
            "statuses": [check.shape_status(call.world, call.repo, row) for row in newest],
            "sha": sha,
            "total_count": len(newest),
            "repository": repository.shape(call.world, call.repo),
            "commit_url": f"{api}/commits/{sha}",
            "url": f"{api}/commits/{sha}/status",
        }
    )


async def _statuses(call: Call) -> list[CommitStatus]:
    return call.world.statuses.of((call.repo.id, await resolved(call, call.parameters["ref"])))


def _combined(states: Sequence[str]) -> str:
    if {"error", "failure"} & set(states):
        return "failure"
    return "success" if states and set(states) == {"success"} else "pending"
