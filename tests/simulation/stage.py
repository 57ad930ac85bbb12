"""A run's files and git objects as plain files: what the runner's git steps do, as far as others can see it.

Real git is too slow for a hundred thousand runs; its own rules are tested with real git elsewhere. The remote, its tokens
and its condition on a push are kept (``github.py``), and so is what a bundle must bring back.
"""

import contextlib
import hashlib
import json
from unittest import mock

from infra.core.changes import ChangeKind, Changes, FileChange, FileType
from infra.core.errors import Conflict, Invalid
from runner import execute, publish
from runner.refusals import MovedOn, Unreachable
from tests.simulation.process import current
from tests.simulation.runners import SimWorking

_ANSWER = "answer.txt"


class Stage:
    def __init__(self, world):
        self._world = world

    async def fetch_base(self, _git, place, remote, *, base_sha):
        async def effect():
            self._world.github.fetch(remote.token)

        await self._patiently("git fetch", effect)
        (place.git / "base").write_text(base_sha)

    async def clone(self, git, place, remote, *, base_sha, branch):
        await self.fetch_base(git, place, remote, base_sha=base_sha)

    async def collect(self, _git, place, *, base_sha):
        answer = place.tree / _ANSWER
        return _changes(base_sha, answer.read_text()) if answer.exists() else None

    async def read_changes(self, _git, _place, *, base_sha, tree_sha):
        return _changes(base_sha, self._world.github.kept[tree_sha]["content"])

    async def commit(self, _git, place, changes, *, message, identity, now):
        content = (place.tree / _ANSWER).read_text()
        head = hashlib.sha1(f"{content}{message}{now // 1000}".encode()).hexdigest()
        (place.git / "commit").write_text(json.dumps({"head": head, "content": content}))
        self._world.github.kept[head] = {"content": content}
        return head

    async def bundle(self, _git, place, *, head, base_sha):
        path = place.git / "work.bundle"
        path.write_bytes((place.git / "commit").read_bytes())
        return path

    async def restore(self, _git, place, saved, *, base_sha, run_id):
        try:
            found = json.loads(saved.read_bytes())
        except ValueError:
            raise Invalid("It is broken.", code="saved_work_broken") from None
        return found["head"]

    async def take_up(self, *_):
        """No conversation is kept here: a lost attempt begins anew, unless its work was saved."""

    async def pull_template(self, *_):
        return ""

    def PartialWork(self, **_):  # noqa: N802 - as the real one
        return self

    async def keep(self, _place):
        return ()

    async def push(self, _git, _place, remote, work, **_):
        """As ``runner.publish.push``: create, find done, or replace an earlier commit of this run."""
        github, expected = self._world.github, ""
        for _ in range(4):

            async def effect(expected=expected):
                github.push(
                    remote.token,
                    work.branch,
                    work.head_sha,
                    expected=expected,
                    run_id=work.run_id,
                    fence=current().fence,
                )

            try:
                await self._patiently("git push", effect)
            except MovedOn:
                there = github.branches.get(work.branch, "")
                if there and github.commits.get(there) != work.run_id:
                    raise Conflict("Somebody else's.", code="branch_taken") from None
                expected = there
            else:
                return work.head_sha
        raise Conflict("It kept changing.", code="branch_taken")

    async def _patiently(self, point, effect):
        import asyncio

        for pause in (*publish.PAUSES, None):
            try:
                return await self._world.edge.call(point, effect, lambda: Unreachable("No answer."))
            except Unreachable:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")


class NoInspection:
    """Nothing here is secret or protected."""

    def __init__(self, **_):
        pass

    async def change(self, _place, _changes):
        return None

    def texts(self, _texts):
        return None


@contextlib.contextmanager
def staged(stage):
    """The runner's story with these steps in place of git's."""
    steps = (
        *("clone", "fetch_base", "restore", "read_changes", "collect", "commit", "bundle"),
        *("take_up", "pull_template", "PartialWork"),
    )
    with contextlib.ExitStack() as replaced:
        for name in steps:
            replaced.enter_context(mock.patch.object(execute, name, getattr(stage, name)))
        replaced.enter_context(mock.patch.object(execute, "Inspector", NoInspection))
        replaced.enter_context(mock.patch.object(execute, "Working", SimWorking))
        replaced.enter_context(mock.patch.object(publish, "push", stage.push))
        yield


def _changes(base_sha, content):
    file = FileChange(
        path=_ANSWER,
        kind=ChangeKind.ADDED,
        type=FileType.FILE,
        lines_added=1,
        lines_removed=0,
        binary=False,
        size=len(content),
    )
    return Changes(base_sha=base_sha, tree_sha=hashlib.sha1(content.encode()).hexdigest(), files=(file,), set_aside=())
