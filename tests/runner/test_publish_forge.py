"""The whole way over the local forge: real tokens that really limit, the real REST client, one pull request."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from infra.core.errors import Forbidden, Unavailable
from infra.core.forge import CLONE_PERMISSIONS, PUBLISH_PERMISSIONS, AccessToken, NewPullRequest
from infra.core.repository import Repository
from infra.core.words import commit_message, marked_run, marker
from infra.github.client import GitHubRepository
from infra.local.forge.faults import Fault
from runner.api_commit import ApiPush
from runner.clone import clone
from runner.collect import collect, commit
from runner.git import Git, parse_remote
from runner.publish import Work, publish
from runner.pull_template import pull_template
from runner.workspace import workspace
from tests.world.answers import branch
from tests.world.forge import forge_world
from tests.world.git_http import git
from tests.world.git_scene import BOT, BRANCH, NOW, RUN, a_scene


class Attempt:
    """One run on ``acme/shop``, with tokens as the control plane would mint them."""

    def __init__(self, github, ws, base):
        self.github, self.ws, self.base = github, ws, base
        self.git = Git(executable=shutil.which("git") or "git")

    async def clone(self):
        token = await self.github.installation_token(permissions=dict(CLONE_PERMISSIONS))
        remote = parse_remote(self.github.clone_url(), token)
        await clone(self.git, self.ws, remote, base_sha=self.base, branch=BRANCH, pauses=())

    async def publish(self, permissions=PUBLISH_PERMISSIONS, *, api=False):
        token = await self.github.installation_token(permissions=dict(permissions))
        changes = await collect(self.git, self.ws, base_sha=self.base)
        message = commit_message("Round totals", RUN)
        head = await commit(self.git, self.ws, changes, message=message, identity=BOT, now=NOW)
        work = Work(run_id=RUN, base_sha=self.base, head_sha=head, branch=BRANCH, identity=BOT)

        async def held():
            return AccessToken(value=token, expires_at=NOW)

        forge = GitHubRepository.connect(
            api_url=self.github.forge.api_url, git_url=self.github.forge.url,
            repository=Repository("acme", "shop"), token_source=held,
        )  # fmt: skip
        remote = parse_remote(self.github.clone_url(), token)
        try:
            new = NewPullRequest(
                title="Round totals", body=f"Rounded.\n\n{marker(RUN)}", head_branch=BRANCH, base_branch=""
            )
            put = ApiPush(self.git, self.ws, forge, BRANCH, self.base) if api else None
            published = await publish(self.git, self.ws, remote, forge, work, new=new, put=put, pauses=())
            return head, published.pull, await forge.resolve(BRANCH)
        finally:
            await forge.close()


@pytest.fixture
async def attempt(tmp_path):
    async with forge_world(tmp_path) as github, workspace(tmp_path / "runs", RUN) as ws:
        reading = await github.http.get(
            f"{github.path}/commits/{github.repo.default_branch}",
            headers={"authorization": f"Bearer {await github.installation_token()}"},
        )
        made = Attempt(github, ws, reading.json()["sha"])
        await made.clone()
        yield made


async def test_a_change_becomes_one_pull_request_however_often_it_is_published(attempt):
    (attempt.ws.tree / "src" / "cart.py").write_text("def total(prices):\n    return round(sum(prices), 2)\n")
    head, pull, tip = await attempt.publish()
    assert tip == head == pull.head_sha
    assert (pull.head_branch, pull.base_branch, pull.title) == (
        BRANCH,
        attempt.github.repo.default_branch,
        "Round totals",
    )
    assert marked_run(pull.body) == RUN
    assert (await attempt.publish())[1].number == pull.number


async def test_the_token_of_the_clone_cannot_publish(attempt):
    (attempt.ws.tree / "new.txt").write_text("x\n")
    with pytest.raises(Forbidden):
        await attempt.publish({**CLONE_PERMISSIONS, "pull_requests": "read"})


async def test_a_workflow_file_needs_a_permission_that_we_do_not_ask_for(attempt):
    workflow = attempt.ws.tree / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("on: push\n")
    with pytest.raises(Forbidden) as caught:
        await attempt.publish()
    assert caught.value.code == "workflow_permission"
    assert "ci.yml" in caught.value.message


@pytest.mark.parametrize(
    "name", ["PULL_REQUEST_TEMPLATE.md", ".github/pull_request_template.md", "docs/pull_request_template.md"]
)
async def test_the_repositorys_template_is_read_from_its_base(tmp_path, name):
    async with a_scene(tmp_path, {name: "## Why\n", "README.md": "x\n"}) as scene:
        await scene.clone()
        (scene.ws.tree / name).write_text("## Something else\n")
        head = await scene.commit()
        assert await pull_template(scene.git, scene.ws, scene.base) == "## Why\n"
        assert await pull_template(scene.git, scene.ws, head) == "## Something else\n"


async def test_a_repository_without_a_template_has_none(tmp_path):
    async with a_scene(tmp_path) as scene:
        await scene.clone()
        assert await pull_template(scene.git, scene.ws, scene.base) == ""


async def every_kind_of_change(attempt):
    tree = attempt.ws.tree
    (tree / "src" / "cart.py").unlink()
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "picture.bin").write_bytes(bytes(range(256)))
    (tree / "naïve name").write_text("text ü\n")
    (tree / "link").symlink_to("README.md")


async def test_a_commit_made_through_the_api_is_the_same_tree_and_verified(attempt):
    await every_kind_of_change(attempt)
    head, pull, tip = await attempt.publish(api=True)
    bare = attempt.github.forge.world.directory(attempt.github.repo.id)
    assert tip == pull.head_sha != head
    ours = git("rev-parse", f"{head}^{{tree}}", cwd=attempt.ws.git)
    assert git("rev-parse", f"{tip}^{{tree}}", cwd=bare) == ours
    assert git("log", "-1", "--format=%an|%cn|%P", tip, cwd=bare) == f"pullwright[bot]|GitHub|{attempt.base}"
    assert f"Pullwright-Run: {RUN}" in git("log", "-1", "--format=%B", tip, cwd=bare)
    assert (await attempt.publish(api=True))[1:] == (pull, tip)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("path", ["git/trees", "git/commits", "git/refs", "pulls"])
async def test_an_answer_lost_on_the_way_through_the_api_makes_no_second_commit(attempt, path, after):
    (attempt.ws.tree / "new.txt").write_text("x\n")
    attempt.github.forge.faults.add(Fault(method="POST", path=f"{path}$", drop="after" if after else "before"))
    with contextlib.suppress(Unavailable):
        await attempt.publish(api=True)
    _, pull, tip = await attempt.publish(api=True)
    assert pull.number == 1
    bare = attempt.github.forge.world.directory(attempt.github.repo.id)
    assert git("rev-list", "--count", f"{attempt.base}..{tip}", cwd=bare) == "1"


async def test_through_the_api_too_ours_goes_on_top_of_a_persons_commit(attempt):
    (attempt.ws.tree / "new.txt").write_text("x\n")
    theirs = await branch(attempt.github, BRANCH, {"theirs.txt": "y\n"})
    _, _, tip = await attempt.publish(api=True)
    bare = attempt.github.forge.world.directory(attempt.github.repo.id)
    assert git("rev-parse", f"{tip}^", cwd=bare) == theirs
    assert git("show", f"{tip}:new.txt", cwd=bare) == "x"
