"""Follow-up runs: another run takes up what one left – on its branch and pull request, or beside it.

What the new run needs of the old one is copied into its own artifacts before it exists, so that its token opens nothing
that belongs to another run. Without a checkpoint it starts a fresh conversation on the same code.
"""

from __future__ import annotations

from dataclasses import replace

from dispatcher.engine.launch import new_run
from dispatcher.services import Services
from infra.core.artifacts import MAX_ARTIFACT_BYTES, SESSION_CHECKPOINT, WORK_CHECKPOINT, artifact_key
from infra.core.errors import Conflict, NotFound
from infra.core.repository import Repository
from infra.core.run import Origin, Resume, Run
from infra.core.trigger import Action, RunRequest, parse_task, visible_task


async def follow_up(parent: Run, task: str, services: Services, *, actor: str, fork: bool) -> Run:
    """A queued run that goes on from ``parent``, not stored yet.

    Raises ``Conflict`` (``run_not_ended``) while the parent works, ``Invalid`` for a task of which nothing is visible."""
    if not parent.ended:
        raise Conflict(
            f"Run {parent.id} is still {parent.state}.",
            code="run_not_ended",
            hint=f"Send it a message (POST /api/runs/{parent.id}/commands), or wait for its end.",
        )
    title, text, removed = visible_task("", parse_task(task))
    request = RunRequest(
        repository=Repository(owner=parent.owner, name=parent.repo),
        installation_id=parent.installation_id,
        ref=parent.ref,
        title=title,
        task=text,
        action=Action(parent.action),
        origin=Origin(kind="fork" if fork else "continue", actor=actor),
        limits=services.policy.limits,
        model=parent.model,
        removed=removed,
    )
    run = replace(new_run(request, services, services.clock(), base_sha=parent.base_sha), parent=parent.id)
    run = run if fork else await _on_its_pull_request(run, parent, services)
    return replace(run, resume=await _taken_over(run, parent, services, fork=fork))


async def _on_its_pull_request(run: Run, parent: Run, services: Services) -> Run:
    """Its commits join the parent's pull request while that is open; else it begins where the base branch is now."""
    if parent.delivered is None:
        return run
    forge = await services.forge()
    repository = forge.on(parent.installation_id, Repository(owner=parent.owner, name=parent.repo))
    try:
        pull = await repository.pull(parent.delivered.number)
    except NotFound:
        return replace(run, base_sha="")
    if pull.state != "open":
        return replace(run, base_sha="")
    return replace(run, base_sha=pull.head_sha, branch_name=pull.head_branch, pull=pull.number)


async def _taken_over(run: Run, parent: Run, services: Services, *, fork: bool) -> Resume | None:
    """The parent's conversation, and its files where the new run begins where it began; None when it left none."""
    if parent.checkpoint is None or not parent.checkpoint.session_id:
        return None
    if not await _copied(SESSION_CHECKPOINT, run, parent, services):
        return None
    same_base = run.base_sha == parent.base_sha
    work = same_base and await _copied(WORK_CHECKPOINT, run, parent, services)
    return Resume(
        artifact=SESSION_CHECKPOINT,
        session_id=parent.checkpoint.session_id,
        work=WORK_CHECKPOINT if work else "",
        fork=fork,
    )


async def _copied(name: str, run: Run, parent: Run, services: Services) -> bool:
    bucket = services.bucket
    stored = await bucket.stat(artifact_key(parent.id, name))
    if stored is None:
        return False
    await bucket.put(
        artifact_key(run.id, name),
        bucket.open(stored.key),
        content_type=stored.content_type,
        max_bytes=MAX_ARTIFACT_BYTES,
    )
    return True
