"""An agent's files and conversation as bundles: made behind its walls while it works, believed elsewhere only after a look."""

import shutil
import time
from contextlib import asynccontextmanager

import pytest

from infra.core.clock import Instant
from infra.core.errors import Invalid
from infra.core.ids import RunId
from runner.bubblewrap import BubblewrapSandbox
from runner.sandbox import PlainSandbox
from runner.snapshot import SnapshotFailed, Snapshots, project_folder, take_up_session, take_up_work
from runner.workspace import workspace
from tests.runner.boxes import box_in, needs_boxes, start_in
from tests.runner.waiting import until
from tests.world.git_http import git
from tests.world.git_scene import RUN, a_scene

SESSION = "0c5aa1f6-9a0d-4b5a-9c1e-3f1f3a1d7b11"
OTHER = RunId("run-01jcqz7v8wabcdefghjkmnpqrt")


def clock():
    return Instant(int(time.time() * 1000))


def converse(place, text='{"one": 1}\n{"two": 2}\n'):
    folder = place.home / ".claude" / "projects" / project_folder(place.tree)
    (folder / SESSION / "subagents").mkdir(parents=True)
    (folder / f"{SESSION}.jsonl").write_text(text)
    (folder / SESSION / "subagents" / "agent-1.jsonl").write_text("{}\n")
    (folder / "11111111-1111-1111-1111-111111111111.jsonl").write_text("another conversation\n")


def snapshots(scene, sandbox, box_id):
    return Snapshots(
        sandbox=sandbox,
        place=scene.ws,
        beside=box_id,
        run_id=RUN,
        base_sha=scene.base,
        path="/usr/local/bin:/usr/bin:/bin",
        environment=scene.git.box_environment,
        clock=clock,
    )


@pytest.fixture(params=["bubblewrap", "none"])
async def sandbox(request, tmp_path):
    if request.param == "none":
        return PlainSandbox(tmp_path / "launchers")
    if needs_boxes.args[0]:
        pytest.skip(needs_boxes.kwargs["reason"])
    return BubblewrapSandbox(tmp_path / "launchers")


@pytest.fixture
async def scene(tmp_path):
    tmp_path.chmod(0o711)
    async with a_scene(tmp_path) as scene:
        await scene.clone()
        yield scene


@asynccontextmanager
async def at_work(scene, sandbox):
    """An agent's box over the scene's workspace; the agent waits."""
    box = box_in(scene.ws.root)
    agent = await start_in(sandbox, box, "-c", "touch ../tmp/ready; sleep 600")
    try:
        await until((scene.ws.tmp / "ready").exists)
        yield box
        assert agent.returncode is None, "the snapshot ended the agent"
    finally:
        await sandbox.destroy(box)
        await agent.communicate()


@asynccontextmanager
async def elsewhere(scene, folder):
    """Another machine: a fresh workspace, cloned at the same base."""
    async with workspace(folder / "elsewhere", RUN) as place:
        scene.ws, before = place, scene.ws
        await scene.clone()
        scene.ws = before
        yield place


async def taken(scene, sandbox, session=SESSION):
    async with at_work(scene, sandbox) as box:
        return await snapshots(scene, sandbox, box.id).take(session, at_work=True)


async def test_what_an_agent_has_done_lies_ready_on_another_machine(scene, sandbox, tmp_path):
    tree = scene.ws.tree
    (tree / "README.md").write_text("changed\n")
    (tree / "new.txt").write_text("untracked\n")
    (tree / "src" / "app.py").unlink()
    (tree / ".gitignore").write_text("build/\n")
    (tree / "build").mkdir()
    (tree / "build" / "big").write_text("ignored\n")
    converse(scene.ws, '{"one": 1}\n{"two": 2}\n{"half')
    snapshot = await taken(scene, sandbox)
    assert snapshot.session_id == SESSION
    async with elsewhere(scene, tmp_path) as place:
        await take_up_session(scene.git, place, snapshot.session, session_id=SESSION)
        await take_up_work(scene.git, place, snapshot.work, base_sha=scene.base, run_id=RUN)
        assert (place.tree / "README.md").read_text() == "changed\n"
        assert (place.tree / "new.txt").read_text() == "untracked\n"
        assert not (place.tree / "src" / "app.py").exists()
        assert not (place.tree / "build").exists()
        assert "?? new.txt" in git("status", "--porcelain", cwd=place.tree)
        folder = place.home / ".claude" / "projects" / project_folder(place.tree)
        assert (folder / f"{SESSION}.jsonl").read_text() == '{"one": 1}\n{"two": 2}\n'
        assert (folder / SESSION / "subagents" / "agent-1.jsonl").exists()
        assert len(list(folder.iterdir())) == 2


async def test_after_the_end_of_the_agent_too(scene, sandbox):
    (scene.ws.tree / "new.txt").write_text("here\n")
    converse(scene.ws)
    snapshot = await snapshots(scene, sandbox, "box-gone").take(SESSION, at_work=False)
    assert snapshot.session_id == SESSION
    assert snapshot.work.startswith(b"# v2 git bundle")


async def test_an_agent_that_has_said_nothing_yet_has_no_conversation(scene, sandbox):
    snapshot = await taken(scene, sandbox)
    assert (snapshot.session_id, snapshot.session) == ("", b"")


async def test_links_to_the_machine_stay_links(scene, sandbox, tmp_path):
    """The supervisor's secrets are not what an agent's links lead to."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / f"{SESSION}.jsonl").write_text("the-machine's-own\n")
    projects = scene.ws.home / ".claude" / "projects"
    projects.mkdir(parents=True)
    (projects / "x").symlink_to(secret)
    (scene.ws.tree / "link").symlink_to(secret / f"{SESSION}.jsonl")
    snapshot = await taken(scene, sandbox)
    if sandbox.name == "bubblewrap":
        assert snapshot.session == b""
    async with elsewhere(scene, tmp_path) as place:
        await take_up_work(scene.git, place, snapshot.work, base_sha=scene.base, run_id=RUN)
        assert (place.tree / "link").is_symlink()


async def test_configuration_of_the_agent_is_not_executed(scene, sandbox):
    spot = scene.ws.tree / "spot"
    with (scene.ws.tree / ".git" / "config").open("a") as config:
        config.write(f'[core]\n\tfsmonitor = touch {spot}\n[filter "evil"]\n\tclean = touch {spot}; cat\n')
    (scene.ws.tree / ".gitattributes").write_text("* filter=evil\n")
    assert (await taken(scene, sandbox)).work
    assert not spot.exists()


async def test_a_ruined_repository_is_no_checkpoint_and_no_catastrophe(scene, sandbox):
    shutil.rmtree(scene.ws.tree / ".git")
    with pytest.raises(SnapshotFailed):
        await taken(scene, sandbox)


async def test_work_of_another_run_or_a_broken_bundle_is_not_taken_up(scene, sandbox, tmp_path):
    (scene.ws.tree / "new.txt").write_text("here\n")
    converse(scene.ws)
    snapshot = await taken(scene, sandbox)
    async with elsewhere(scene, tmp_path) as place:
        with pytest.raises(Invalid, match="another run"):
            await take_up_work(scene.git, place, snapshot.work, base_sha=scene.base, run_id=OTHER)
        with pytest.raises(Invalid):
            await take_up_work(scene.git, place, snapshot.work[:-30], base_sha=scene.base, run_id=RUN)
        for content, session in (
            (snapshot.work, SESSION),
            (snapshot.session[:-30], SESSION),
            (snapshot.session, "11111111-1111-1111-1111-111111111111"),
            (snapshot.session, "../../etc"),
        ):
            with pytest.raises(Invalid):
                await take_up_session(scene.git, place, content, session_id=session)
