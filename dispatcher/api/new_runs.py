"""``POST /api/runs``, ``…/continue`` and ``…/fork``: new runs, worked on in the cloud or by a person's own runner."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from msgspec import Meta
from starlette.responses import Response

from dispatcher.api.views import run_view
from dispatcher.call import Call, reply
from dispatcher.engine import attached
from dispatcher.engine.continuation import follow_up
from dispatcher.engine.launch import launch, new_run
from dispatcher.engine.once import Locks, Request, once
from dispatcher.engine.prepare import locate
from dispatcher.services import Services
from infra.core.errors import Invalid
from infra.core.repository import parse_ref, parse_repository
from infra.core.run import Origin, Run
from infra.core.trigger import Action, RunRequest, parse_task, visible_task
from infra.wire import Strict

_UNSAID = "A run of a person's own runner"


class NewRunBody(Strict, frozen=True, kw_only=True):
    """``executor``: ``cloud`` starts a runner, ``attach`` waits for a person's; then the task may be left to that runner."""

    owner: str
    repo: str
    task: str = ""
    ref: str | None = None
    executor: Literal["cloud", "attach"] = "cloud"


class FollowUpBody(Strict, frozen=True, kw_only=True):
    task: Annotated[str, Meta(min_length=1)]
    executor: Literal["cloud", "attach"] = "cloud"


async def create_run(call: Call) -> Response:
    """A new run; with ``"executor": "attach"`` it waits for ``claude-runner start``, and ``token`` is told here and never again."""
    services, body = call.services, await call.decode(NewRunBody)
    request = run_request(body, services, actor=call.caller)

    async def make(locks: Locks) -> Run:
        located, base_sha = await locate(request, services)
        run = new_run(located, services, services.clock(), base_sha=base_sha)
        return await start(run, services, locks, attach=body.executor == "attach")

    return await created(call, await once(asked(call, body), services, make))


async def continue_run(call: Call) -> Response:
    """A follow-up of a run that has ended: on the same branch and pull request, with the same conversation where it was saved."""
    return await _follow(call, fork=False)


async def fork_run(call: Call) -> Response:
    """Another run from where this one was, on a branch of its own; the old one stays as it is."""
    return await _follow(call, fork=True)


async def _follow(call: Call, *, fork: bool) -> Response:
    services, body = call.services, await call.decode(FollowUpBody)
    parent = await services.runs.get(call.path_run_id())

    async def make(locks: Locks) -> Run:
        run = await follow_up(parent, body.task, services, actor=call.caller, fork=fork)
        return await start(run, services, locks, attach=body.executor == "attach")

    return await created(call, await once(asked(call, body), services, make))


def run_request(body: NewRunBody, services: Services, *, actor: str, kind: str = "api") -> RunRequest:
    """What is asked for, checked. Raises ``Invalid``."""
    if body.task.strip():
        title, task, removed = visible_task("", parse_task(body.task))
    elif body.executor == "attach":
        title, task, removed = _UNSAID, "", ()
    else:
        raise Invalid("task is empty.", code="empty_task", hint="Describe the task, as you would in an issue.")
    return RunRequest(
        repository=parse_repository(body.owner, body.repo),
        installation_id=0,
        ref=parse_ref(body.ref) if body.ref else "",
        title=title,
        task=task,
        action=Action.CREATE_PR,
        origin=Origin(kind=kind, actor=actor),
        limits=services.policy.limits,
        model=services.policy.model,
        removed=removed,
    )


def asked(call: Call, body: Any) -> Request:
    """This request as ``once`` tells it from others."""
    key = call.idempotency_key()
    path = call.request.url.path
    fingerprint = hashlib.sha256(repr((path, body)).encode()).hexdigest()
    return Request(lock=key and f"api:{key}", fingerprint=fingerprint, source="api")


async def start(run: Run, services: Services, locks: Locks, *, attach: bool) -> Run:
    """Stores the run, and starts a runner unless a person's is to come."""
    if attach:
        return await attached.open_for_person(run, services, *locks(run))
    await launch(run, services, *locks(run))
    return run


async def created(call: Call, run: Run) -> Response:
    """201 with the run; with its token when a person's runner is to claim it."""
    view = run_view(run, call.services.settings.own_url)
    if run.attach and not run.ended:
        view["token"] = await attached.token(run, call.services)
        view["start"] = f"claude-runner start --run-id {run.id} --token …"
    headers = {"location": f"/api/runs/{run.id}", "cache-control": "no-store"}
    return reply(view, 201, headers)
