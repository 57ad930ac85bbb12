"""The platform's own look at what was delivered. A run counts as succeeded only if GitHub says so too."""

from __future__ import annotations

from dispatcher.services import Services
from infra.core.conversing import Relation
from infra.core.errors import Invalid, NotFound
from infra.core.forge import PullRequest, RepositoryForge
from infra.core.repository import Repository
from infra.core.run import Delivered, Reason, Run, State
from infra.wire import Settlement

RUNNER_MAY_REPORT = frozenset(
    {State.SUCCEEDED, State.NO_CHANGES, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.BLOCKED}
)


async def verified(run: Run, report: Settlement, services: Services) -> tuple[State, Reason | None, Delivered | None]:
    """The end that is written down for a runner's report.

    Raises what the forge raises when it cannot be asked: the runner then reports again, and nothing is settled on trust.
    """
    if report.state is not State.SUCCEEDED:
        return report.state, report.reason, report.delivered
    if report.delivered is None:
        return State.FAILED, _unverified("The runner reported success without a pull request."), None
    problem = await _problem(run, report.delivered, services)
    if problem:
        return State.FAILED, _unverified(problem), report.delivered
    return State.SUCCEEDED, None, report.delivered


async def _problem(run: Run, delivered: Delivered, services: Services) -> str:
    """Why the pull request is not what was reported; empty when it is."""
    forge = await services.forge()
    repository = forge.on(run.installation_id, Repository(owner=run.owner, name=run.repo))
    try:
        pull = await repository.pull(delivered.number)
    except NotFound:
        return f"GitHub does not know pull request #{delivered.number}."
    if pull.head_branch != run.branch:
        return f"Pull request #{pull.number} is from {pull.head_branch}, not from {run.branch}."
    if pull.state != "open" and not pull.merged:
        return f"Pull request #{pull.number} is {pull.state}."
    if pull.head_sha != delivered.head_sha and not pull.merged and not await _went_on(repository, delivered, pull):
        return f"Pull request #{pull.number} has head {pull.head_sha[:12]}, but {delivered.head_sha[:12]} was pushed."
    return ""


async def _went_on(repository: RepositoryForge, delivered: Delivered, pull: PullRequest) -> bool:
    """Somebody has added commits to ours since it was pushed: that is no failure."""
    try:
        return await repository.compare(delivered.head_sha, pull.head_sha) is Relation.AHEAD
    except (NotFound, Invalid):
        return False


def _unverified(message: str) -> Reason:
    return Reason(code="unverified", message=message, hint="Look at the pull request and at the run's last events.")
