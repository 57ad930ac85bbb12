"""What is asked of the forge before a runner may start: the facts a signed payload cannot prove."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dispatcher.engine.repair import judged
from dispatcher.engine.target import aimed
from dispatcher.services import Services
from infra.core.ask import Via
from infra.core.errors import Invalid, NotFound
from infra.core.forge import RepositoryForge
from infra.core.matching import allowed
from infra.core.repository import Repository
from infra.core.run import Reason, Run, State
from infra.core.shown import shown
from infra.core.trigger import RunRequest


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
    if run.asks:
        permitted = await _permitted(run, repository)
        if isinstance(permitted, Blocked):
            return permitted
        run = permitted
    if head := _failed_head(run):
        verdict = await judged(run, head, repository, services)
        if verdict is not None:
            return Blocked(verdict.state, verdict.reason)
    try:
        run = shown(run)
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


def _failed_head(run: Run) -> str:
    """The commit whose red checks are all that the run is about; empty when somebody asked for something."""
    heads = {ask.head if ask.via is Via.CHECK else "" for ask in run.asks}
    return heads.pop() if len(heads) == 1 and run.origin.pull and not run.branch_name else ""


async def _permitted(run: Run, repository: RepositoryForge) -> Run | Blocked:
    """With the asks of those who may ask. Whoever may not is left out, and told about; none left: the run must not start.

    A listed App's bot was let in by the project's own file, which takes write access to change.
    """
    refusals: dict[str, str] = {}
    for actor, needed in dict.fromkeys((ask.actor, ask.permission) for ask in run.asks if not ask.app):
        permission = await repository.permission(actor)
        if not allowed(permission, needed):
            refusals[actor] = f"{actor} has {permission or 'no'} permission on {run.full_name}"
    asks = tuple(ask for ask in run.asks if ask.app or ask.actor not in refusals)
    if not asks:
        needed = run.asks[0].permission
        message = f"{'; '.join(refusals.values())}; starting a run takes {needed}."
        hint = f"Somebody with {needed} access can ask for it again."
        return Blocked(State.BLOCKED, Reason(code="sender_not_permitted", message=message, hint=hint))
    notes = tuple(f"What {actor} asked for was left out: {why}." for actor, why in refusals.items())
    return replace(run, asks=asks, notes=tuple(dict.fromkeys((*run.notes, *notes))))
