"""The agent's work as one file that survives the runner: a git bundle of the commit, and the way back from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from infra.core.errors import Invalid
from infra.core.ids import RunId
from infra.core.words import names_run
from runner.clone import BASE_REF
from runner.git import Git, GitFailed
from runner.workspace import Workspace

_WORK_REF = "refs/pullwright/work"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFacts:
    """A commit as its object says, whatever is shallow around it."""

    sha: str
    parents: tuple[str, ...]
    committer_name: str
    committer_email: str
    message: str


async def bundle(git: Git, workspace: Workspace, *, head: str, base_sha: str) -> Path:
    """Writes everything that ``head`` adds to ``base_sha`` into one file beside the supervisor's repository's objects."""
    path = workspace.git / "work.bundle"
    await git.local("update-ref", _WORK_REF, head, directory=workspace.git)
    await git.local("bundle", "create", "--quiet", str(path), f"{base_sha}..{_WORK_REF}", directory=workspace.git)
    return path


async def restore(git: Git, workspace: Workspace, saved: Path, *, base_sha: str, run_id: RunId) -> str:
    """Brings a saved commit back into a supervisor's repository that holds its base (``fetch_base``); returns its SHA.

    Raises ``Invalid`` (``saved_work_broken``) unless the bundle is whole and holds one commit of this run on this base.
    """
    try:
        told = await git.local("bundle", "unbundle", str(saved), directory=workspace.git)
        heads = [line.split(" ", 1) for line in told.decode().splitlines()]
        if [ref for _, ref in heads] != [_WORK_REF]:
            raise _broken("it does not hold exactly one piece of work")
        head = heads[0][0]
        # unbundling checks that the pack is whole, not that its objects are harmless
        await git.local("fsck", "--strict", "--no-dangling", "--no-progress", head, BASE_REF, directory=workspace.git)
    except GitFailed as error:
        raise _broken(f"git said: {error.words}") from error
    facts = await read_commit(git, workspace.git, head)
    if facts.parents != (base_sha,) or not names_run(facts.message, run_id):
        raise _broken("its commit belongs to another run or another base")
    return head


async def read_commit(git: Git, directory: Path, sha: str) -> CommitFacts:
    """Reads one commit object, without the repository's shallow view of its parents. ``sha`` is a full name."""
    return await asyncio.to_thread(_read_commit, git, directory, sha)


def _read_commit(git: Git, directory: Path, sha: str) -> CommitFacts:
    # GitPython costs 70 ms to import and is needed only after a crash or a lost race, so it is imported here. Nothing but
    # a full SHA is given to it, and its cat-file process gets the same program and variables as ours.
    import git as gitpython

    gitpython.refresh(git.executable)
    with gitpython.Repo(directory) as repository:
        repository.git.update_environment(**git.environment)
        found = repository.commit(sha)
        message = found.message
        return CommitFacts(
            sha=found.hexsha,
            parents=tuple(parent.hexsha for parent in found.parents),
            committer_name=found.committer.name or "",
            committer_email=found.committer.email or "",
            message=message if isinstance(message, str) else message.decode("utf-8", "replace"),
        )


def _broken(why: str) -> Invalid:
    return Invalid(
        f"The saved work of an earlier attempt cannot be used: {why}.",
        code="saved_work_broken",
        hint="Start the run again; nothing was published.",
    )
