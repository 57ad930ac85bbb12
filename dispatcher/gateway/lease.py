"""Claim, heartbeat, settle: the life of a lease, as the runner asks for it."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from dispatcher.call import Call, reply
from dispatcher.engine.execution import take_slot
from dispatcher.engine.follow_up import next_in_line
from dispatcher.engine.gather import gather
from dispatcher.engine.launch import enqueue
from dispatcher.engine.nudge import nudge
from dispatcher.engine.prepare import Blocked, prepare
from dispatcher.engine.project_file import project_file
from dispatcher.engine.target import co_author
from dispatcher.engine.verify import RUNNER_MAY_REPORT, verified
from dispatcher.gateway.uploads import Uploads
from dispatcher.services import Services
from infra.core import run as rules
from infra.core.clock import SECOND
from infra.core.container import Checked
from infra.core.container_effect import effect
from infra.core.errors import Invalid
from infra.core.execution import Host
from infra.core.hidden_text import notice
from infra.core.ids import RunId
from infra.core.prompt import build_prompt
from infra.core.run import Ended, Phase, Run, State
from infra.wire import (
    Assignment,
    Beat,
    Claimed,
    ClaimRequest,
    Heartbeat,
    ProjectOrder,
    Release,
    Released,
    ResumeFrom,
    Settled,
    Settlement,
)


def run_of(call: Call) -> RunId:
    """The run that the caller's token is for."""
    assert call.run_id is not None, "only routes for runners come here"
    return call.run_id


async def claim(call: Call) -> Response:
    """``POST /api/runs/{id}/claim``: the lease and the assignment, or 409 when there is nothing to do."""
    services, run_id = call.services, run_of(call)
    request = await call.decode(ClaimRequest)
    await _room(run_id, services)
    now = services.clock()
    run = await services.runs.change(
        run_id,
        lambda current: rules.claim(
            current, holder=request.holder, now=now, lease_ms=_lease_ms(services), **_billed(current, request, services)
        ),
    )
    run = await _pinned(run, services)
    project = await project_file(run, services)
    if isinstance(project, Blocked):
        raise await _ended(run, project, services)
    await nudge(run, services)
    settings = services.settings
    return reply(
        Claimed(
            fence=run.fence,
            attempt=run.attempt,
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            next_sequence=await services.timelines.next_sequence(run_id),
            assignment=await _assignment(run, project, services),
            checkpoint=run.checkpoint,
            used=run.usage,
        )
    )


async def _room(run_id: RunId, services: Services) -> None:
    """Raises ``RateLimited`` while as many runs are under way as may be."""
    run = await services.runs.get(run_id)
    if not run.ended:
        await take_slot(run, services)


async def _pinned(run: Run, services: Services) -> Run:
    """The run with its base pinned; a run that must not start ends here, and so does the claim."""
    prepared = await prepare(run, services)
    if isinstance(prepared, Blocked):
        raise await _ended(run, prepared, services)
    if prepared == run:
        return run
    return await services.runs.change(
        run.id,
        lambda current: replace(
            current,
            ref=prepared.ref,
            pull=prepared.pull,
            branch_name=prepared.branch_name,
            base_sha=prepared.base_sha,
            title=prepared.title,
            asks=prepared.asks,
            about=prepared.about,
            notes=prepared.notes,
            task=prepared.task,
            removed=prepared.removed,
        ),
    )


async def _ended(run: Run, why: Blocked, services: Services) -> Ended:
    """Ends a run that must not start; what the runner is told."""
    now = services.clock()
    ended = await services.runs.change(
        run.id, lambda current: rules.settle(current, why.state, now=now, reason=why.reason)
    )
    await services.slots.give_back(run.id)
    services.bell.ring(run.id)
    await nudge(ended, services)
    await next_in_line(ended, services)
    return Ended(f"Run {run.id} ended as {why.state}: {why.reason.message}")


async def _assignment(run: Run, project: Checked, services: Services) -> Assignment:
    settings = services.settings
    forge = await services.forge()
    bot = await forge.bot_identity()
    context = await gather(run, services)
    granted = effect(
        project,
        limits=run.limits,
        model=run.model,
        default_model=settings.claude_model,
        allowed_domains=settings.allowed_domain_list,
    )
    wished = project.container
    return Assignment(
        run_id=run.id,
        owner=run.owner,
        repo=run.repo,
        git_url=f"{settings.github_url.rstrip('/')}/{run.full_name}.git",
        api_url=settings.github_api_url.rstrip("/"),
        ref=run.ref,
        base_sha=run.base_sha,
        branch=run.branch,
        title=run.title,
        prompt=build_prompt(run, context),
        attachments=context.pictures,
        closes=0 if run.origin.pull else run.origin.issue,
        requested_by=run.origin.actor,
        author_name=bot.name,
        author_email=bot.email,
        model=granted.model,
        limits=granted.limits,
        run_url=f"{settings.own_url}/api/runs/{run.id}",
        rehearsal=settings.rehearsal,
        notices=(*((notice(run.removed),) if run.removed else ()), *run.notes),
        resume_from=_resume_from(run),
        record=settings.record_cassettes,
        pull=run.pull,
        draft=settings.publishing.draft,
        commit_mode=settings.publishing.commit_mode,
        co_author=await co_author(run, forge),
        allowed_domains=granted.allowed_domains,
        project=ProjectOrder(
            tools=wished.tools,
            mcp_servers=wished.mcp_servers,
            memory_bytes=wished.memory_bytes,
            run_as_user=wished.run_as_user,
            base_image=wished.base_image,
            warnings=granted.warnings,
        ),
    )


def _resume_from(run: Run) -> ResumeFrom | None:
    if run.resume is None:
        return None
    left = run.resume
    return ResumeFrom(
        run_id=run.parent, artifact=left.artifact, session_id=left.session_id, fork=left.fork, work=left.work
    )


async def heartbeat(call: Call) -> Response:
    """``POST /api/runs/{id}/heartbeat``: the lease lives on; the answer says whether to stop."""
    services, run_id = call.services, run_of(call)
    beat = await call.decode(Heartbeat)
    now = services.clock()
    phase_before: Phase | None = None

    def renewed(current: Run) -> Run:
        nonlocal phase_before
        phase_before = current.phase
        return rules.renew(
            current,
            fence=beat.fence,
            now=now,
            lease_ms=_lease_ms(services),
            beat=beat.number,
            phase=beat.phase,
            checkpoint=beat.checkpoint,
            spent=beat.spent,
        )

    run = await services.runs.change(run_id, renewed)
    if run.phase is not phase_before:
        await nudge(run, services)
    return reply(Beat(cancel=run.cancel_requested_at is not None, lease_seconds=services.settings.lease_seconds))


async def release(call: Call) -> Response:
    """``POST /api/runs/{id}/release``: a runner that must go hands its run back, and the next one is launched at once."""
    services, run_id = call.services, run_of(call)
    wanted = await call.decode(Release)
    now = services.clock()
    run = await services.runs.change(
        run_id,
        lambda current: rules.release(
            current, fence=wanted.fence, now=now, checkpoint=wanted.checkpoint, spent=wanted.spent
        ),
    )
    services.bell.ring(run_id)
    services.command_bell.ring(run_id)
    if run.state is State.QUEUED:
        await enqueue(run, services)
    return reply(Released(state=run.state))


async def settle(call: Call) -> Response:
    """``POST /api/runs/{id}/settle``: the end, verified, written once. Repeating it gives the same answer."""
    services, run_id = call.services, run_of(call)
    report = await call.decode(Settlement)
    if report.state not in RUNNER_MAY_REPORT:
        raise Invalid(f"A runner cannot settle a run as {report.state}.", code="invalid_settlement")
    run = await services.runs.get(run_id)
    if run.ended and run.fence == report.fence:
        return reply(Settled(state=run.state))
    rules.check_fence(run, report.fence)
    state, reason, delivered = await verified(run, report, services)
    now = services.clock()

    def end(current: Run) -> Run:
        rules.check_fence(current, report.fence)
        return rules.settle(
            current,
            state,
            now=now,
            reason=reason,
            delivered=delivered,
            usage=report.usage,
            discrepancy=report.discrepancy,
        )

    run = await services.runs.change(run_id, end)
    await services.slots.give_back(run_id)
    services.bell.ring(run_id)
    services.command_bell.ring(run_id)
    await nudge(run, services)
    await Uploads(services.bucket).discard(run_id)
    await next_in_line(run, services)
    return reply(Settled(state=run.state))


def _billed(run: Run, request: ClaimRequest, services: Services) -> dict[str, str]:
    """As what the holder's time is paid for; nothing on a laptop and in local mode."""
    if services.settings.platform == "local" or request.host == "laptop":
        return {}
    return {"host": Host.JOB if run.execution else Host.SERVICE, "size": run.size or services.settings.runner_class}


def _lease_ms(services: Services) -> int:
    return int(services.settings.lease_seconds * SECOND)
