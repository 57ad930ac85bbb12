"""Where a run's commits will go: a branch of its own, or the branch of the pull request that it was asked on."""

from __future__ import annotations

from dataclasses import replace

from infra.core.errors import PullwrightError
from infra.core.forge import Forge, RepositoryForge
from infra.core.publish_policy import PublishPolicy, branch_name
from infra.core.run import Run
from infra.core.words import CoAuthor


async def aimed(run: Run, repository: RepositoryForge, policy: PublishPolicy) -> Run:
    """The run with its branch; settled at the first claim and kept by all later ones.

    An open pull request of this very repository gets the commit itself, on top of the head that was there when somebody
    asked. What is closed or stands on the default branch gets a new branch and a pull request of its own. So does what comes
    from a fork, and it begins at the base: a fork's commits on a branch of ours would run in CI with the repository's secrets.
    https://securitylab.github.com/resources/github-actions-preventing-pwn-requests/
    """
    if run.branch_name:
        return run
    own = replace(run, branch_name=branch_name(policy.branch_template, run))
    if not run.origin.pull:
        return own
    if run.head is not None and run.head.fork:
        return replace(own, ref=run.head.base_branch, base_sha="")
    pull = await repository.pull(run.origin.issue)
    if pull.state != "open" or pull.from_fork:
        return replace(own, ref=pull.base_branch, base_sha="")
    facts = await repository.facts()
    seen = replace(run, ref=pull.base_branch, base_sha=run.base_sha or pull.head_sha)
    if pull.head_branch == facts.default_branch:
        return replace(seen, branch_name=own.branch_name)
    return replace(seen, branch_name=pull.head_branch, pull=pull.number)


async def co_author(run: Run, forge: Forge) -> CoAuthor | None:
    """Who asked, as the forge links commits to people; nobody for a caller who is not a person on the forge."""
    if not run.origin.issue or not run.origin.actor or run.origin.actor.endswith("[bot]"):
        return None
    try:
        account = await forge.account(run.installation_id, run.origin.actor)
    except PullwrightError:
        return None  # a trailer is not worth a run
    return CoAuthor(name=account.login, email=account.email)
