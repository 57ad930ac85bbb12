"""From a commit to a pull request: one branch, never another's commits, and the same answer however often it is asked.

The push leaves from the supervisor's repository by exact SHA. ``--force-with-lease`` makes "nobody else was first" a
condition that the remote checks together with the update, so two attempts and a person can race without harm. Whoever was
first keeps what is there: our commit goes on top of it where the two can be merged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from infra.core.errors import Conflict, Invalid, NotFound, PullwrightError
from infra.core.forge import NewPullRequest, PullRequest, RepositoryForge
from infra.core.ids import RunId
from infra.core.publish_policy import is_own_branch
from infra.core.repository import parse_ref
from infra.core.words import marked_run, names_run
from runner.clone import PAUSES, patiently
from runner.collect import Identity, commit_tree
from runner.git import Git, GitFailed, Remote
from runner.refusals import MovedOn
from runner.saved_work import read_commit
from runner.workspace import Workspace

_THEIRS = "refs/pullwright/theirs"
_TRIES = 4
_DEPTH = 100
"""Commits of others that may have come in between; ours is not put on top of more."""
_SECONDS = 120.0

Put = Callable[[str, str], Awaitable[str]]
"""Puts a commit on the branch, which must be at the second commit (empty: nowhere yet); returns the commit as it is there.
Raises ``MovedOn`` when the branch is elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A commit of ours that should become visible: where it is from, whose it is and which branch it goes to.

    ``pull``: the open pull request whose branch that is; 0 for a branch of the run's own.
    """

    run_id: RunId
    base_sha: str
    head_sha: str
    branch: str
    identity: Identity
    pull: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """``head_sha``: the commit that holds the work; the branch may have gone on from there."""

    pull: PullRequest
    head_sha: str


async def publish(
    git: Git,
    workspace: Workspace,
    remote: Remote,
    forge: RepositoryForge,
    work: Work,
    *,
    new: NewPullRequest,
    put: Put | None = None,
    pauses: Sequence[float] = PAUSES,
) -> Published:
    """Pushes the commit, and opens its pull request or adopts the one that this run already has, open or closed.

    Safe to repeat after any interruption. ``new`` without a base: the repository's default branch. With ``work.pull`` the
    commit joins that pull request and none is opened. ``put``: another way than a push (``runner/api_commit.py``). Raises what ``push`` and the forge raise.
    """
    if work.pull:
        head = await push(git, workspace, remote, work, put=put, pauses=pauses)
        return Published(pull=await forge.pull(work.pull), head_sha=head)
    asked = asyncio.ensure_future(_look_around(forge, work, new.base_branch))
    try:
        head = await push(git, workspace, remote, work, put=put, pauses=pauses)
        existing, base = await asked
    finally:
        asked.cancel()
    return Published(pull=existing or await forge.open_pull(replace(new, base_branch=base)), head_sha=head)


async def published(forge: RepositoryForge, work: Work) -> bool:
    """Whether this run has a pull request already, open or closed – or its commit is the newest of the one it adds to."""
    if work.pull:
        return (await forge.pull(work.pull)).head_sha == work.head_sha
    return _own(await forge.pulls_from(work.branch), work) is not None


async def push(
    git: Git,
    workspace: Workspace,
    remote: Remote,
    work: Work,
    *,
    put: Put | None = None,
    pauses: Sequence[float] = PAUSES,
) -> str:
    """Puts ``work.head_sha`` on its branch and returns the commit that holds it: creates the branch, finds it done, replaces
    an earlier attempt's commit of this run, or adds to what others have put there meanwhile.

    Raises ``Conflict`` (``branch_taken``) when that cannot be; nothing of theirs is ever lost. Raises the remote's refusals
    (``runner/refusals.py``), after trying again when it could not be reached.
    """
    _check_branch(work)
    lease = work.base_sha if work.pull else ""
    head = work.head_sha
    put_there = put or GitPush(git, workspace, remote, work.branch, pauses)
    for _ in range(_TRIES):
        try:
            return await put_there(head, lease)
        except MovedOn:
            tip = await _tip(git, workspace, remote, work, pauses)
            if tip is None and work.pull:
                raise _gone(work) from None
            if tip is None:
                lease = ""
                continue
            if await _holds(git, workspace, tip, work.head_sha):
                return work.head_sha
            lease = tip
            mine = put is None and await _replaces(git, workspace, work, tip)
            head = work.head_sha if mine else await rebase(git, workspace, work, tip)
            if head == tip:
                return tip
    raise Conflict(
        f"The branch {work.branch} kept changing while it was being pushed.",
        code="branch_taken",
        hint="Something else writes to it; stop that, then retry the run.",
    )


def _check_branch(work: Work) -> None:
    """Raises ``Invalid`` for what is no plain branch name (it becomes part of a refspec), and for a branch that is neither the
    run's own nor the one it was asked to add to."""
    plain = parse_ref(work.branch) == work.branch and not work.branch.startswith(("refs/", "-", "+"))
    if not plain or not (work.pull or is_own_branch(work.branch, work.run_id)):
        raise Invalid("That is not a branch that a run may push.", code="invalid_branch")


async def _look_around(forge: RepositoryForge, work: Work, base_branch: str) -> tuple[PullRequest | None, str]:
    """This run's pull request if there is one already, and the branch a new one would go to."""
    if base_branch:
        pulls, base = await forge.pulls_from(work.branch), base_branch
    else:
        pulls, facts = await asyncio.gather(forge.pulls_from(work.branch), forge.facts())
        base = facts.default_branch
    return _own(pulls, work), base


def _own(pulls: Sequence[PullRequest], work: Work) -> PullRequest | None:
    return next((pull for pull in pulls if marked_run(pull.body) == work.run_id), None)


@dataclass(frozen=True, slots=True)
class GitPush:
    """Puts commits on ``branch`` with ``git push``."""

    git: Git
    workspace: Workspace
    remote: Remote
    branch: str
    pauses: Sequence[float]

    async def __call__(self, head: str, lease: str) -> str:
        await patiently(partial(self._push, head, lease), self.pauses)
        return head

    async def _push(self, head: str, lease: str) -> None:
        ref = f"refs/heads/{self.branch}"
        await self.git.transport(
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
            "--recurse-submodules=no",
            f"--force-with-lease={ref}:{lease}",
            "--end-of-options",
            self.remote.url,
            f"{head}:{ref}",
            directory=self.workspace.git,
            remote=self.remote,
            seconds=_SECONDS,
        )


async def _tip(git: Git, workspace: Workspace, remote: Remote, work: Work, pauses: Sequence[float]) -> str | None:
    """The commit that is on the branch now, with the history above it; None when there is no such branch (any more)."""

    async def fetch() -> None:
        await git.transport(
            "fetch",
            "--quiet",
            f"--depth={_DEPTH}",
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
            return None
        raise
    return (await asyncio.to_thread((workspace.git / _THEIRS).read_text)).strip()


async def _replaces(git: Git, workspace: Workspace, work: Work, tip: str) -> bool:
    """Whether an earlier attempt of this run made the commit at the tip, so that ours takes its place."""
    there = await read_commit(git, workspace.git, tip)
    return (
        there.parents == (work.base_sha,)
        and (there.committer_name, there.committer_email) == (work.identity.name, work.identity.email)
        and names_run(there.message, work.run_id)
    )


async def _holds(git: Git, workspace: Workspace, tip: str, commit: str) -> bool:
    """Whether the branch has the commit already: our answer was lost, or somebody went on from it."""
    try:
        await git.local("merge-base", "--is-ancestor", commit, tip, directory=workspace.git)
    except GitFailed:
        return False
    return True


async def rebase(git: Git, workspace: Workspace, work: Work, tip: str) -> str:
    """Our commit once more on top of ``tip``, merged without a working copy; ``tip`` itself where it has all of it already.

    Raises ``Conflict`` (``branch_taken``) when the two touch the same lines, or when the branch does not come from our base.
    """
    if not await _holds(git, workspace, tip, work.base_sha):
        raise _taken(work, tip)
    try:
        merged = await git.local("merge-tree", "--write-tree", tip, work.head_sha, directory=workspace.git)
    except GitFailed as error:
        raise _taken(work, tip) from error
    tree = merged.decode().split("\n", 1)[0]
    if tree == (await git.local("rev-parse", f"{tip}^{{tree}}", directory=workspace.git)).decode().strip():
        return tip
    header, _, message = (await git.local("cat-file", "commit", work.head_sha, directory=workspace.git)).partition(
        b"\n\n"
    )
    seconds = int(header.rsplit(b" ", 2)[1])  # "committer NAME <EMAIL> SECONDS ZONE" comes last
    return await commit_tree(git, workspace, tree, parent=tip, message=message, identity=work.identity, seconds=seconds)


def _gone(work: Work) -> PullwrightError:
    return Conflict(
        f"The branch {work.branch} of pull request #{work.pull} was deleted while the run worked.",
        code="branch_gone",
        hint="Restore the branch, then ask again; the work is kept with the run.",
    )


def _taken(work: Work, sha: str) -> PullwrightError:
    return Conflict(
        f"The branch {work.branch} holds commit {sha[:12]}, which this run did not make and cannot be put on top of; "
        "it was left as it is.",
        code="branch_taken",
        hint="Merge, rename or delete that branch, then retry the run.",
    )
