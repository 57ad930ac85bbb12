"""From a commit to a pull request: one branch, never another's commits, and the same answer however often it is asked.

The push leaves from the supervisor's repository by exact SHA. ``--force-with-lease`` makes "nobody else was first" a
condition that the remote checks together with the update, so two attempts and a person can race without harm.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from infra.core.errors import Conflict, Invalid, NotFound, PullwrightError
from infra.core.forge import NewPullRequest, PullRequest, RepositoryForge
from infra.core.ids import RunId
from infra.core.words import marked_run, names_run
from runner.clone import PAUSES, patiently
from runner.collect import Identity
from runner.git import Git, Remote
from runner.refusals import MovedOn
from runner.saved_work import read_commit
from runner.workspace import Workspace

_BRANCH = re.compile(r"claude/run-[0-9a-z]{26}(?:-[0-9a-z]{1,8})?")
_THEIRS = "refs/pullwright/theirs"
_TRIES = 4
_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A commit of ours that should become visible: where it is from, whose it is and which branch it goes to."""

    run_id: RunId
    base_sha: str
    head_sha: str
    branch: str
    identity: Identity


async def publish(
    git: Git,
    workspace: Workspace,
    remote: Remote,
    forge: RepositoryForge,
    work: Work,
    *,
    base_branch: str,
    title: str,
    body: str,
    pauses: Sequence[float] = PAUSES,
) -> PullRequest:
    """Pushes the commit and opens its pull request, or adopts the one that this run already has, open or closed.

    Safe to repeat after any interruption. ``base_branch`` empty: the repository's default branch. Raises what ``push``
    and the forge raise.
    """
    asked = asyncio.ensure_future(_look_around(forge, work, base_branch))
    try:
        await push(git, workspace, remote, work, pauses=pauses)
        existing, base = await asked
    finally:
        asked.cancel()
    if existing is not None:
        return existing
    return await forge.open_pull(NewPullRequest(title=title, body=body, head_branch=work.branch, base_branch=base))


async def push(git: Git, workspace: Workspace, remote: Remote, work: Work, *, pauses: Sequence[float] = PAUSES) -> None:
    """Puts ``work.head_sha`` on its branch: creates it, finds it done, or replaces an earlier attempt's commit of this run.

    Raises ``Conflict`` (``branch_taken``) when anybody else's commit is there; nothing of theirs is ever lost. Raises the
    remote's refusals (``runner/refusals.py``), after trying again when it could not be reached.
    """
    if _BRANCH.fullmatch(work.branch) is None:
        raise Invalid("Only branches named claude/RUN are ever pushed.", code="invalid_branch")
    expected = ""
    for _ in range(_TRIES):
        try:
            await patiently(partial(_push, git, workspace, remote, work, expected), pauses)
        except MovedOn:
            expected = await _ours_to_replace(git, workspace, remote, work, pauses)
        else:
            return
    raise Conflict(
        f"The branch {work.branch} kept changing while it was being pushed.",
        code="branch_taken",
        hint="Something else writes to it; stop that, then retry the run.",
    )


async def _look_around(forge: RepositoryForge, work: Work, base_branch: str) -> tuple[PullRequest | None, str]:
    """This run's pull request if there is one already, and the branch a new one would go to."""
    if base_branch:
        pulls, base = await forge.pulls_from(work.branch), base_branch
    else:
        pulls, facts = await asyncio.gather(forge.pulls_from(work.branch), forge.facts())
        base = facts.default_branch
    return next((pull for pull in pulls if marked_run(pull.body) == work.run_id), None), base


async def _push(git: Git, workspace: Workspace, remote: Remote, work: Work, lease: str) -> None:
    ref = f"refs/heads/{work.branch}"
    await git.transport(
        "push",
        "--porcelain",
        "--no-verify",
        "--no-follow-tags",
        "--no-signed",
        "--recurse-submodules=no",
        f"--force-with-lease={ref}:{lease}",
        "--end-of-options",
        remote.url,
        f"{work.head_sha}:{ref}",
        directory=workspace.git,
        remote=remote,
        seconds=_SECONDS,
    )


async def _ours_to_replace(git: Git, workspace: Workspace, remote: Remote, work: Work, pauses: Sequence[float]) -> str:
    """The commit now on the branch, if an earlier attempt of this run made it; empty when the branch is gone again."""

    async def fetch() -> None:
        await git.transport(
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--end-of-options",
            remote.url,
            f"+refs/heads/{work.branch}:{_THEIRS}",
            directory=workspace.git,
            remote=remote,
            seconds=_SECONDS,
        )

    try:
        await patiently(fetch, pauses)
    except NotFound as error:
        if error.code == "ref_not_found":
            return ""
        raise
    tip = await asyncio.to_thread((workspace.git / _THEIRS).read_text)
    there = await read_commit(git, workspace.git, tip.strip())
    ours = (
        there.parents == (work.base_sha,)
        and (there.committer_name, there.committer_email) == (work.identity.name, work.identity.email)
        and names_run(there.message, work.run_id)
    )
    if not ours:
        raise _taken(work, there.sha)
    return there.sha


def _taken(work: Work, sha: str) -> PullwrightError:
    return Conflict(
        f"The branch {work.branch} holds commit {sha[:12]}, which this run did not make; it was left as it is.",
        code="branch_taken",
        hint="Merge, rename or delete that branch, then retry the run.",
    )
