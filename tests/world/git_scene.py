"""A run's surroundings for the git tests: a served repository, a workspace, and a bot that publishes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from infra.core.ids import RunId
from infra.core.words import commit_message
from runner import git as runner_git
from runner.clone import CloneLimits, clone
from runner.collect import Identity, collect, commit
from runner.git import Git, parse_remote
from runner.publish import Work
from runner.workspace import Workspace, workspace
from tests.world.git_http import GitHttp, Remote

RUN = RunId("run-01jcqz7v8wabcdefghjkmnpqrs")
BRANCH = f"claude/{RUN}"
BOT = Identity(name="pullwright[bot]", email="7+pullwright[bot]@users.noreply.github.com")
TOKEN = "ghs_1234_eyJ0eXAiOiJKV1QifQ.read-Write_secret.c2lnbmF0dXJl"
NOW = 1_700_000_000_000


@dataclass
class Scene:
    world: Remote
    git: Git
    ws: Workspace
    base: str
    folder: Path

    @property
    def remote(self) -> runner_git.Remote:
        return parse_remote(self.world.url("project"), TOKEN)

    async def clone(self, **limits: float) -> None:
        await clone(
            self.git, self.ws, self.remote, base_sha=self.base, branch=BRANCH, limits=CloneLimits(**limits), pauses=()
        )

    async def commit(self, title: str = "Fix it", now: int = NOW) -> str:
        changes = await collect(self.git, self.ws, base_sha=self.base)
        assert changes is not None
        message = commit_message(title, RUN)
        return await commit(self.git, self.ws, changes, message=message, identity=BOT, now=now)

    def work(self, head: str) -> Work:
        return Work(run_id=RUN, base_sha=self.base, head_sha=head, branch=BRANCH, identity=BOT)


@contextlib.asynccontextmanager
async def a_scene(folder: Path, files: dict[str, str] | None = None) -> AsyncIterator[Scene]:
    """A served repository ``project`` with ``files`` and an empty workspace for one run on it."""
    source = folder / "source"
    for name, text in (files or {"README.md": "hello\n", "src/app.py": "print('hi')\n"}).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    world = Remote(root=folder / "served", tokens={TOKEN: True})
    world.root.mkdir()
    base = world.create("project", source)
    with GitHttp(world):
        git = Git(executable=shutil.which("git") or "git")
        async with workspace(folder / "runs", RUN) as ws:
            yield Scene(world=world, git=git, ws=ws, base=base, folder=folder)
