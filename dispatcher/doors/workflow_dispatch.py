"""The workflow-dispatch door: an authenticated call becomes a run; the answer has the PR URL when it is there in time."""

from __future__ import annotations

import asyncio
import hashlib
import re

import msgspec
from starlette.responses import Response

from dispatcher.api.views import dispatch_view
from dispatcher.bell import wait
from dispatcher.call import Call, reply
from dispatcher.engine.launch import launch, new_run
from dispatcher.engine.once import Locks, Request, once
from dispatcher.engine.prepare import locate
from dispatcher.services import Services
from infra.core.errors import Conflict
from infra.core.ids import RunId
from infra.core.run import Run
from infra.core.trigger import Accepted, WorkflowDispatch, decide, parse_workflow_dispatch
from infra.settings import required
from infra.wire import Strict

MAX_WAIT_SECONDS = 600.0
_LOOK_AGAIN_SECONDS = 1.0
_WAIT = re.compile(r"wait=(\d{1,6})", re.ASCII)


class Inputs(Strict, frozen=True, kw_only=True):
    action_type: str
    context: str


class DispatchBody(Strict, frozen=True, kw_only=True):
    owner: str
    repo: str
    workflow_id: str = msgspec.field(name="workflowId")
    inputs: Inputs
    ref: str | None = None


async def dispatch_workflow(call: Call) -> Response:
    """``POST /api/workflows/dispatch``: 200 with the result when the run ends within the wait, else 202."""
    trigger = await _trigger(call)
    run = await _run(trigger, call.services)
    seconds = wait_seconds(call.request.headers.get("prefer", ""), call.services.settings.dispatch_wait_seconds)
    run = await until_ended(run, call.services, seconds)
    return reply(
        dispatch_view(run, call.services.settings.own_url),
        status=200 if run.ended else 202,
        headers={
            "location": f"/api/runs/{run.id}",
            "preference-applied": "respond-async" if seconds == 0 else f"wait={seconds:.0f}",
        },
    )


async def _trigger(call: Call) -> WorkflowDispatch:
    body = await call.decode(DispatchBody)
    trigger = parse_workflow_dispatch(
        owner=body.owner,
        repo=body.repo,
        workflow_id=body.workflow_id,
        ref=body.ref,
        action_type=body.inputs.action_type,
        context=body.inputs.context,
        caller=call.caller,
        idempotency_key=call.idempotency_key(),
    )
    required(call.services.settings.claude_cloud_run_url, "CLAUDE_CLOUD_RUN_URL")
    return trigger


async def _run(trigger: WorkflowDispatch, services: Services) -> Run:
    """The run of this call: a new one, or the one that the same Idempotency-Key made before."""

    async def make(locks: Locks) -> Run:
        decision = decide(trigger, services.policy)
        if not isinstance(decision, Accepted):
            raise Conflict(decision.reason, code="not_accepted")
        request, base_sha = await locate(decision.request, services)
        run = new_run(request, services, services.clock(), base_sha=base_sha)
        await launch(run, services, *locks(run))
        return run

    fingerprint = hashlib.sha256(repr(trigger).encode()).hexdigest()
    lock = trigger.idempotency_key and f"dispatch:{trigger.idempotency_key}"
    return await once(Request(lock=lock, fingerprint=fingerprint, source="workflow_dispatch"), services, make)


def wait_seconds(prefer: str, default: float) -> float:
    """How long to wait, by the caller's ``Prefer`` header (RFC 7240): ``respond-async`` or ``wait=N``; bounded."""
    preferences = [part.strip().lower() for part in prefer.split(",")]
    for preference in preferences:
        match = _WAIT.fullmatch(preference)
        if match:
            return min(float(match.group(1)), MAX_WAIT_SECONDS)
    return 0.0 if "respond-async" in preferences else default


async def until_ended(run: Run, services: Services, seconds: float) -> Run:
    """The run as it stands when it has ended or the time is up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    run_id = RunId(run.id)
    with services.bell.listen(run_id) as rung:
        while not run.ended and (left := deadline - loop.time()) > 0:
            await wait(rung, min(left, _LOOK_AGAIN_SECONDS))
            run = await services.runs.get(run_id)
    return run
