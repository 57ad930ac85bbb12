"""What is asked of the forge before a runner may start: the facts a signed payload cannot prove."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dispatcher.engine.target import aimed
from dispatcher.services import Services
from infra.core.errors import Invalid, NotFound
from infra.core.forge import RepositoryForge
from infra.core.hidden_text import bounded
from infra.core.repository import Repository
from infra.core.run import Reason, Run, State
from infra.core.trigger import RunRequest, visible_issue

WRITERS = frozenset({"admin", "maintain", "write"})


@dataclass(frozen=True, slots=True)
class Blocked:
    """The run must not start; it ends with this."""

    state: State
    reason: Reason


async def locate(request: RunRequest, services: Services) -> tuple[RunRequest, str]:
    """A dispatch request with its installation and ref filled in, and the SHA to work on.

    Raises ``NotFound`` (repository unknown or App not installed), ``Invalid`` (ref does not exist, repository archived),
    or what GitHub itself said.
    """
    forge = await services.forge()
    installation = await forge.installation(request.repository)
    repository = forge.on(installation.id, request.repository)
    facts = await repository.facts()
    if facts.archived:
        raise Invalid(
            f"{request.repository} is archived.",
            code="repository_archived",
            hint="Unarchive it first; archived repositories take no pushes.",
        )
    ref = request.ref or facts.default_branch
    return replace(request, installation_id=installation.id, ref=ref), await _resolve(
        repository, request.repository, ref
    )


async def _resolve(repository: RepositoryForge, name: Repository, ref: str) -> str:
    try:
        return await repository.resolve(ref)
    except NotFound as error:
        raise Invalid(
            f"{name} has no branch, tag or commit {ref!r}.",
            code="unknown_ref",
            hint="Leave ref out for the default branch.",
        ) from error


async def prepare(run: Run, services: Services) -> Run | Blocked:
    """A claimed run with base and ref pinned and its task free of hidden text – or why it must not start.

    People who asked through GitHub must be able to write to the repository *now*: a payload's own word
    (``author_association``) is not believed, and neither are labels, which issue forms set for anybody.
    """
    name = Repository(owner=run.owner, name=run.repo)
    repository = (await services.forge()).on(run.installation_id, name)
    if run.origin.kind == "github_issue" and (blocked := await _check_sender(run, repository)):
        return blocked
    try:
        run = _shown(run)
    except Invalid as error:
        return Blocked(State.BLOCKED, Reason(code=error.code, message=error.message, hint=error.hint))
    try:
        run = await aimed(run, repository, services.settings.publishing)
        if run.base_sha:
            return run
        ref = run.ref or (await repository.facts()).default_branch
        return replace(run, ref=ref, base_sha=await _resolve(repository, name, ref))
    except (Invalid, NotFound) as error:
        return Blocked(State.FAILED, Reason(code=error.code, message=error.message, hint=error.hint))


def _shown(run: Run) -> Run:
    """With what readers of the issue's page see and nothing else. Raises ``Invalid`` when that is nothing."""
    if run.removed is not None:
        return run
    title, task, removed = visible_issue(run.task)
    return replace(run, title=title, task=task, removed=bounded(removed))


async def _check_sender(run: Run, repository: RepositoryForge) -> Blocked | None:
    permission = await repository.permission(run.origin.actor)
    if permission in WRITERS:
        return None
    message = f"{run.origin.actor} has {permission or 'no'} permission on {run.full_name}; starting a run takes write."
    hint = "Somebody with write access can add the label again."
    return Blocked(State.BLOCKED, Reason(code="sender_not_permitted", message=message, hint=hint))
