"""State first, task second, sweeper third: how a request becomes a run that cannot get lost.

The run and the locks of its delivery are one commit. The task comes after it; a crash in between leaves a queued run
whose ``wake_at`` brings the sweeper, which makes the task again under the same rules.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from dispatcher.engine.nudge import nudge
from dispatcher.services import Services
from infra import run_token
from infra.core.announcement import announced
from infra.core.clock import Instant, later
from infra.core.errors import PullwrightError
from infra.core.execution import Host, choose_host
from infra.core.hidden_text import bounded
from infra.core.ids import new_run_id
from infra.core.queue import MAX_DEADLINE_SECONDS, Task
from infra.core.run import LAUNCH_GRACE, Run, State
from infra.core.store import Write
from infra.core.trigger import RunRequest
from infra.platform_secrets import RUN_TOKEN_KEY
from infra.settings import required
from infra.wire import ProcessIssue, RunLaunch

_log = logging.getLogger("dispatcher")


def new_run(request: RunRequest, services: Services, now: Instant, *, base_sha: str = "") -> Run:
    """A queued run, not stored yet."""
    return Run(
        id=new_run_id(now, services.entropy),
        owner=request.repository.owner,
        repo=request.repository.name,
        installation_id=request.installation_id,
        ref=request.ref,
        base_sha=base_sha,
        title=request.title,
        task=request.task,
        action=request.action,
        origin=request.origin,
        limits=request.limits,
        model=request.model,
        removed=None if request.removed is None else bounded(request.removed),
        asks=request.asks,
        about=request.about,
        head=request.head,
        state=State.QUEUED,
        created_at=now,
        updated_at=now,
        launched_at=now,
        wake_at=later(now, LAUNCH_GRACE),
    )


async def launch(run: Run, services: Services, *locks: Write) -> None:
    """Stores the run together with ``locks``, then asks for a runner.

    Raises ``AlreadyExists`` when a lock is taken (then nothing was stored). A queue that does not take the task is
    no failure for the caller: the run is stored and the sweeper asks again.
    """
    required(services.settings.claude_cloud_run_url, "CLAUDE_CLOUD_RUN_URL")
    announcement = announced(run, services.clock())
    told = () if announcement is None else (services.telling.announcements.creation(announcement),)
    await services.store.commit(services.runs.creation(run), *locks, *told)
    await asyncio.gather(enqueue(run, services), nudge(run, services))


async def enqueue(run: Run, services: Services) -> None:
    """Creates the task of the run's present launch; the same launch twice is one task. A person's runner comes by itself."""
    if run.attach:
        return
    task = await _task(run, services)
    try:
        await services.queue.create(task)
    except PullwrightError as error:
        _log.warning("task not created, the sweeper will try again", extra={"run_id": run.id, "reason": error.message})


async def _task(run: Run, services: Services) -> Task:
    """To the runner service, or to ourselves to start a job where the run may take longer than a request lives."""
    settings = services.settings
    name, headers = f"{run.id}-{run.launch}", {"content-type": "application/json"}
    if choose_host(settings.executor, run.limits.wall_seconds) is Host.JOB:
        body = msgspec.json.encode(RunLaunch(run_id=run.id, launch=run.launch))
        url = f"{settings.own_url}/internal/launch-job"
        return Task(name=name, url=url, body=body, headers=headers, deadline_seconds=60, audience=settings.own_url)
    runner_url = settings.claude_cloud_run_url.rstrip("/")
    token = run_token.mint(await services.platform.one(RUN_TOKEN_KEY), run)
    issue = ProcessIssue(run_id=run.id, token=token, gateway_url=settings.own_url)
    return Task(
        name=name,
        url=f"{runner_url}/process-issue",
        body=msgspec.json.encode(issue),
        headers=headers,
        deadline_seconds=MAX_DEADLINE_SECONDS,
        audience=settings.runner_audience or runner_url,
    )
