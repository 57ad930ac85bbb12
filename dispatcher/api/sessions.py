"""``/api/projects/{project}/agentic-sessions``: the same runs under the names that users of agentic sessions know.

A project is a repository, written ``owner--repo``: GitHub's accounts never hold two dashes in a row, so the first two part it.
A session's name is its run's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from dispatcher.api.commands import stop
from dispatcher.api.new_runs import NewRunBody, asked, run_request, start
from dispatcher.api.runs import MAX_PAGE
from dispatcher.call import Call, reply
from dispatcher.engine.launch import new_run
from dispatcher.engine.once import Locks, once
from dispatcher.engine.prepare import locate
from infra.core.clock import iso
from infra.core.errors import Invalid, NotFound
from infra.core.ids import parse_run_id
from infra.core.repository import Repository, parse_repository
from infra.core.run import TERMINAL, Run, State
from infra.wire import Strict

PHASES: Mapping[State, str] = {
    State.QUEUED: "Pending",
    State.PROVISIONING: "Creating",
    State.RUNNING: "Running",
    **dict.fromkeys((State.WAITING_APPROVAL, State.WAITING_BUDGET, State.WAITING_RATE_LIMIT, State.PAUSED), "Pending"),
    **dict.fromkeys(TERMINAL, "Failed"),
    State.SUCCEEDED: "Completed",
    State.NO_CHANGES: "Completed",
}
"""Each state of a run as a session's phase. A run that ended without its work done is Failed, with the reason beside it."""


class SessionBody(Strict, frozen=True, kw_only=True):
    """``displayName`` is only shown; ``ref`` is the branch to start from, the default branch without it."""

    prompt: str
    displayName: str = ""  # noqa: N815 - the name that its users send
    ref: str | None = None


async def create_session(call: Call) -> Response:
    """201 with the session; it is Pending until a runner has it."""
    services, body = call.services, await call.decode(SessionBody)
    project = _project(call)
    wanted = NewRunBody(owner=project.owner, repo=project.name, task=body.prompt, ref=body.ref)
    request = run_request(wanted, services, actor=call.caller, kind="agentic_session")
    if body.displayName.strip():
        request = replace(request, title=" ".join(body.displayName.split())[:72])

    async def make(locks: Locks) -> Run:
        located, base_sha = await locate(request, services)
        run = new_run(located, services, services.clock(), base_sha=base_sha)
        return await start(run, services, locks, attach=False)

    run = await once(asked(call, body), services, make)
    view = session_view(run, services.settings.own_url)
    return reply(view, 201, {"location": f"{call.request.url.path}/{run.id}"})


async def list_sessions(call: Call) -> Response:
    """Newest first; ``?limit=``, ``?after=`` the cursor of the page before. A page may hold fewer than asked for."""
    page = await call.services.runs.of_repository(
        _project(call), limit=call.number("limit", 50, 1, MAX_PAGE), after=call.request.query_params.get("after")
    )
    own_url = call.services.settings.own_url
    shown = [session_view(run, own_url) for run in page.runs if run.hidden_at is None]
    return reply({"items": shown, "next": page.cursor})


async def get_session(call: Call) -> Response:
    """One session: its phase, and how it ended."""
    return reply(session_view(await _session(call), call.services.settings.own_url))


async def delete_session(call: Call) -> Response:
    """204: what runs is stopped, and the session is no longer shown; its run and what it cost stay on record."""
    services, run = call.services, await _session(call)
    if not run.ended:
        await stop(run.id, services, call.caller)
    now = services.clock()
    await services.runs.change(run.id, lambda current: replace(current, hidden_at=current.hidden_at or now))
    return Response(status_code=204)


async def _session(call: Call) -> Run:
    """Raises ``NotFound``, also for a run of another project and for one that was deleted here."""
    project, name = _project(call), call.request.path_params["name"]
    try:
        run = await call.services.runs.get(parse_run_id(name))
    except Invalid:
        raise _unknown(name) from None
    if run.hidden_at is not None or (run.owner, run.repo) != (project.owner, project.name):
        raise _unknown(name)
    return run


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no session {name[:40]!r} in this project.", code="unknown_session")


def _project(call: Call) -> Repository:
    owner, dashes, name = call.request.path_params["project"].partition("--")
    if not dashes:
        raise Invalid(
            "That is not a project.", code="invalid_project", hint="A project is a repository, written owner--repo."
        )
    return parse_repository(owner, name)


def session_view(run: Run, own_url: str) -> dict[str, Any]:
    """A run as a session."""
    usage = run.usage.plus(run.spent)
    project = f"{run.owner}--{run.repo}"
    return {
        "metadata": {"name": run.id, "project": project, "creationTimestamp": iso(run.created_at)},
        "spec": {"prompt": run.task, "displayName": run.title, "model": run.model, "ref": run.ref},
        "status": {
            "phase": PHASES[run.state],
            "reason": run.reason.code if run.reason else None,
            "message": run.reason.message if run.reason else None,
            "startTime": iso(run.started_at) if run.started_at else None,
            "completionTime": iso(run.finished_at) if run.finished_at else None,
            "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
            "cost_usd": usage.cost_micros / 1_000_000,
            "pr_url": run.delivered.url if run.delivered else None,
        },
        "links": {"run": f"{own_url}/api/runs/{run.id}", "events": f"{own_url}/api/runs/{run.id}/events"},
    }
