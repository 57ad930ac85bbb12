"""Real git against the forge: what each kind of credential may do, and what a push may contain."""

import asyncio
import base64
import time
from itertools import pairwise

import pytest

from infra.core.clock import HOUR
from tests.world.forge import bearer, forge_world
from tests.world.git_client import clone, commit, git, succeed


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        yield world


async def a_clone(github, tmp_path, token=""):
    return await clone(github.clone_url(token or github.person), tmp_path / "work")


async def until(condition):
    """The end of another process can only be looked for."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_read_token_clones_and_cannot_push(github, tmp_path):
    reading = await github.installation_token(permissions={"contents": "read"})
    work = await clone(github.clone_url(reading), tmp_path / "work")
    assert (work / "src/cart.py").read_text().startswith("def total")
    await commit(work, "x", "1", "change", branch="fix")
    pushed = await git("push", "origin", "fix", cwd=work)
    assert pushed.status != 0
    assert "403" in pushed.text
    assert "Permission to acme/shop.git denied to pullwright[bot]" in pushed.text
    assert github.forge.world.refs.branch(github.repo.id, "fix") is None


async def test_the_push_endpoint_itself_refuses_a_read_token(github):
    """Not only the advertisement before it."""
    reading = await github.installation_token(permissions={"contents": "read"})
    basic = base64.b64encode(f"x-access-token:{reading}".encode()).decode()
    answer = await github.http.post(
        f"{github.forge.url}/acme/shop.git/git-receive-pack",
        headers={"authorization": f"Basic {basic}", "content-type": "application/x-git-receive-pack-request"},
        content=b"0000",
    )
    assert answer.status_code == 403


async def test_a_write_token_pushes_under_any_user_name(github, tmp_path):
    writing = await github.installation_token(permissions={"contents": "write"})
    url = github.clone_url(writing).replace("x-access-token:", "anybody:")
    work = await clone(url, tmp_path / "work")
    sha = await commit(work, "x", "1", "change", branch="fix")
    await succeed("push", "origin", "fix", cwd=work)
    answer = await github.http.get(f"{github.path}/git/ref/heads/fix", headers=bearer(writing))
    assert answer.json()["object"]["sha"] == sha


async def test_a_token_for_one_repository_opens_no_other(github, tmp_path):
    other = await github.forge.create_repository("acme", "vault", {"secret": "1"})
    github.forge.install_app(4711, "acme", [other])
    token = await github.installation_token(repositories=["shop"])
    refused = await git("clone", github.clone_url(token, other), str(tmp_path / "vault"))
    assert refused.status != 0
    assert "not found" in refused.text
    both = await github.installation_token()
    await clone(github.clone_url(both, other), tmp_path / "vault")


@pytest.mark.parametrize("token", ["", "ghs_4711_made.up.token"])
async def test_without_a_valid_credential_there_is_only_a_question_for_one(github, token):
    headers = {"authorization": "Basic " + base64.b64encode(f"x:{token}".encode()).decode()} if token else {}
    url = f"{github.forge.url}/acme/shop.git/info/refs?service=git-upload-pack"
    answer = await github.http.get(url, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="GitHub"'


async def test_an_expired_token_opens_nothing(github, tmp_path):
    token = await github.installation_token()
    github.clock.forward(HOUR)
    assert (await git("clone", github.clone_url(token), str(tmp_path / "work"))).status != 0
    assert (await github.http.get(github.path, headers=bearer(token))).status_code == 401


async def test_public_repositories_are_readable_by_anybody_and_writable_by_few(github, tmp_path):
    open_source = await github.forge.create_repository("acme", "open", {"a": "1"}, private=False)
    work = await clone(github.clone_url(repo=open_source), tmp_path / "anonymous")
    await commit(work, "x", "1", "change", branch="fix")
    assert "Authentication" in (await git("push", "origin", "fix", cwd=work)).text
    stranger = github.forge.person_token("stranger")
    await succeed("remote", "set-url", "origin", github.clone_url(stranger, open_source), cwd=work)
    assert "denied to stranger" in (await git("push", "origin", "fix", cwd=work)).text


async def test_workflow_files_need_their_own_permission(github, tmp_path):
    token = await github.installation_token(permissions={"contents": "write"})
    work = await a_clone(github, tmp_path, token)
    await commit(work, ".github/workflows/ci.yml", "on: push", "ci", branch="fix")
    await commit(work, "other", "1", "and another")
    refused = await git("push", "origin", "fix", cwd=work)
    assert refused.status != 0
    assert "remote: error: refusing to allow a GitHub App to create or update workflow" in refused.text
    assert "`.github/workflows/ci.yml` without `workflows` permission" in refused.text
    # A person may, and once it is there, branches that merely contain it may be pushed by anybody.
    await succeed("push", github.clone_url(github.person), "fix:main", cwd=work)
    await commit(work, "third", "1", "no workflow touched")
    await succeed("push", "origin", "fix", cwd=work)


async def test_with_the_workflows_permission_they_may_be_pushed(tmp_path):
    permissions = {"contents": "write", "workflows": "write"}
    async with forge_world(tmp_path, permissions=permissions) as github:
        work = await a_clone(github, tmp_path, await github.installation_token())
        await commit(work, ".github/workflows/ci.yml", "on: push", "ci", branch="fix")
        await succeed("push", "origin", "fix", cwd=work)


async def test_a_protected_default_branch_changes_only_by_merging(github, tmp_path):
    repo = await github.forge.create_repository("acme", "guarded", {"a": "1"}, protected=True)
    repo = github.forge.set_permission("alice", repo, "admin")
    work = await clone(github.clone_url(github.person, repo), tmp_path / "work")
    await commit(work, "x", "1", "change")
    refused = await git("push", "origin", "main", cwd=work)
    assert "GH006: Protected branch update failed for refs/heads/main" in refused.text
    await succeed("push", "origin", "main:fix", cwd=work)


async def test_somebody_elses_work_is_not_overwritten_by_accident(github, tmp_path):
    first = await a_clone(github, tmp_path)
    second = await clone(github.clone_url(github.person), tmp_path / "second")
    await commit(first, "x", "1", "first")
    await succeed("push", "origin", "main", cwd=first)
    await commit(second, "y", "1", "second")
    assert "rejected" in (await git("push", "origin", "main", cwd=second)).text
    await succeed("push", "--force", "origin", "main", cwd=second)


async def test_twelve_pushes_at_once_all_arrive_and_are_each_told_once(github, tmp_path):
    github.forge.set_webhook(f"{github.forge.url}/_forge/health", "s")  # answers 405; being recorded is enough
    work = await a_clone(github, tmp_path)
    main = await succeed("rev-parse", "HEAD", cwd=work)
    branches = [f"branch-{number}" for number in range(12)]
    for branch in branches:
        await commit(work, branch, branch, branch, branch=branch)
    pushes = [git("push", "--quiet", "origin", branch, cwd=work) for branch in branches]
    assert [ended.status for ended in await asyncio.gather(*pushes)] == [0] * 12
    heads = github.forge.world.refs.branches(github.repo.id)
    assert set(heads) == {"main", *branches}
    assert heads["main"] == main
    pushed = [row for row in github.forge.world.deliveries if row.event == "push"]
    assert len(pushed) == 12


async def test_of_concurrent_pushes_to_one_branch_one_wins(github, tmp_path):
    works = [await clone(github.clone_url(github.person), tmp_path / f"work-{number}") for number in range(4)]
    shas = [await commit(work, "x", work.name, work.name) for work in works]
    ended = await asyncio.gather(*(git("push", "origin", "main", cwd=work) for work in works))
    assert sorted(result.status == 0 for result in ended) == [False, False, False, True]
    winner = next(sha for sha, result in zip(shas, ended, strict=True) if result.status == 0)
    assert github.forge.world.refs.branch(github.repo.id, "main") == winner


async def test_large_pushes_stream_and_partial_clones_work(github, tmp_path):
    work = await a_clone(github, tmp_path)
    numbers = "\n".join(f"{left * 7919 % 1_000_003} {right}" for left, right in pairwise(range(200_000)))
    await commit(work, "numbers.txt", numbers, "three megabytes, sent in chunks", branch="big")
    await succeed("push", "origin", "big", cwd=work)
    partial = tmp_path / "partial"
    url = github.clone_url(github.person)
    await succeed("clone", "--quiet", "--depth=1", "--filter=blob:none", "--branch=big", url, str(partial))
    assert (partial / "numbers.txt").read_text() == numbers


async def half_a_push(github):
    """Opens a push and sends no more than its beginning."""
    _, port = github.forge.url.rsplit(":", 1)
    basic = base64.b64encode(f"x:{github.person}".encode()).decode()
    head = (
        f"POST /acme/shop.git/git-receive-pack HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Basic {basic}\r\n"
        "content-type: application/x-git-receive-pack-request\r\ncontent-length: 100000\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(head.encode() + b"00")
    await writer.drain()
    await until(lambda: github.forge.world.git.running == 1)
    return writer


async def test_a_client_that_leaves_takes_its_git_process_with_it(github):
    world = github.forge.world
    writer = await half_a_push(github)
    writer.transport.abort()
    await until(lambda: world.git.running == 0 and not list(world.scratch.iterdir()))
    assert world.refs.branches(github.repo.id).keys() == {"main"}


async def test_the_forge_stops_without_waiting_for_a_client_that_hangs(tmp_path):
    async with forge_world(tmp_path) as github:
        writer = await half_a_push(github)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert github.forge.world.git.running == 0
    assert not list(github.forge.world.scratch.iterdir())
    writer.close()


@pytest.mark.parametrize(
    "path",
    ["/acme/shop.git/HEAD", "/acme/shop.git/objects/info/packs", "/acme/shop.git/info/refs", "/a/../b.git/info/refs"],
)
async def test_only_the_smart_protocol_is_served(github, path):
    basic = base64.b64encode(f"x:{github.person}".encode()).decode()
    answer = await github.http.get(f"{github.forge.url}{path}", headers={"authorization": f"Basic {basic}"})
    assert answer.status_code in {403, 404}


async def test_repositories_come_from_folders_bundles_and_other_repositories(github, tmp_path):
    folder = tmp_path / "folder"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "run").write_text("#!/bin/sh\n")
    (folder / "bin" / "run").chmod(0o755)
    (folder / 'odd "name"\\ä.txt').write_bytes(b"\x00\xff")
    (folder / "link").symlink_to("bin/run")
    made = await github.forge.create_repository("acme", "made", folder)
    github.forge.set_permission("alice", made, "read")
    work = await clone(github.clone_url(github.person, made), tmp_path / "made")
    assert (work / 'odd "name"\\ä.txt').read_bytes() == b"\x00\xff"
    assert (work / "bin/run").stat().st_mode & 0o100
    assert (work / "link").is_symlink()
    await succeed("bundle", "create", str(tmp_path / "it.bundle"), "--all", "HEAD", cwd=work)
    for name, source in (("bundled", tmp_path / "it.bundle"), ("copied", work)):
        repo = await github.forge.create_repository("acme", name, source)
        assert github.forge.world.refs.branch(repo.id, "main") == await succeed("rev-parse", "main", cwd=work)
