"""The private place of a run: made fresh, and gone afterwards whatever was left in it."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from infra.core.ids import RunId
from runner.removal import remove
from runner.workspace import remove_abandoned, workspace
from tests.world.deep_folders import nest
from tests.world.git_scene import RUN

OTHER = RunId("run-01jcqz7v8wabcdefghjkmnpqrt")


async def test_it_is_private_and_complete(tmp_path):
    async with workspace(tmp_path / "runs", RUN) as ws:
        for folder in (ws.git, ws.tree, ws.home, ws.tmp, ws.out):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert not folder.is_symlink()
        # an agent with a user of its own passes through here, and lists nothing
        assert stat.S_IMODE(ws.root.stat().st_mode) == 0o711
        assert ws.root.parent == tmp_path / "runs"
        assert RUN in ws.root.name
    assert list((tmp_path / "runs").iterdir()) == []


async def test_two_attempts_of_one_run_do_not_share_a_place(tmp_path):
    async with workspace(tmp_path, RUN) as first, workspace(tmp_path, RUN) as second:
        assert first.root != second.root
        assert first.tree.is_dir()
    assert list(tmp_path.iterdir()) == []


async def test_nothing_is_left_of_what_an_agent_may_leave(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    said: list[object] = []
    async with workspace(tmp_path / "runs", RUN, on_leftovers=said.extend) as ws:
        (ws.tree / "closed" / "inner").mkdir(parents=True)
        (ws.tree / "closed" / "inner" / "file").write_text("x")
        (ws.tree / "closed" / "inner").chmod(0)
        (ws.tree / "closed").chmod(0o500)
        (ws.home / "away").symlink_to(outside)
        (ws.home / "broken").symlink_to("/nowhere")
        os.mkfifo(ws.tmp / "pipe")
        (ws.tmp / os.fsdecode(b"\xff\n-rf")).mkdir()
        for number in range(300):
            (ws.out / str(number)).touch()
        nest(ws.tree, 60, "d" * 200)  # longer than any path may be
        nest(ws.tree, 1200, "e")  # deeper than recursion goes
        ws.tree.chmod(0o500)
    assert said == []
    assert list((tmp_path / "runs").iterdir()) == []
    assert (outside / "kept").read_text() == "kept"


async def test_the_outcome_of_the_run_is_not_hidden_by_the_removal(tmp_path):
    with pytest.raises(ZeroDivisionError):
        async with workspace(tmp_path, RUN):
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


async def test_what_resists_is_reported_and_not_raised(tmp_path, monkeypatch):
    said: list[object] = []
    async with workspace(tmp_path, RUN, on_leftovers=said.extend) as ws:
        (ws.tree / "file").write_text("x")
        unlink = Path.unlink

        def stubborn(path: Path, **options: bool) -> None:
            if path.name == "file":
                raise PermissionError(1, "Operation not permitted")
            unlink(path, **options)

        monkeypatch.setattr(Path, "unlink", stubborn)
    assert len(said) == 1
    assert "not permitted" in said[0].reason
    monkeypatch.undo()
    assert remove_abandoned(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_run_is_cleaned_up_too(tmp_path):
    inside = asyncio.Event()

    async def run() -> None:
        async with workspace(tmp_path, RUN) as ws:
            for number in range(500):
                (ws.tree / str(number)).touch()
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # impatient: during the removal
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_what_a_killed_process_left_is_removed_and_the_living_are_not(tmp_path):
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom runner.workspace import workspace\n"
        "async def main():\n    async with workspace(Path(sys.argv[1]), sys.argv[2]) as ws:\n"
        "        (ws.tree / 'file').write_text('x')\n        print('ready', flush=True)\n        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "somebody-elses").mkdir()
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), OTHER, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"ready\n"
    async with workspace(tmp_path, RUN):
        assert len(list(tmp_path.iterdir())) == 3
    assert len(list(tmp_path.iterdir())) == 2
    other.kill()
    await other.wait()
    assert len(list(tmp_path.iterdir())) == 2
    async with workspace(tmp_path, RUN) as ws:
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "somebody-elses", ws.root])


async def test_a_removal_that_was_killed_half_way_is_finished(tmp_path):
    half = tmp_path / f"{OTHER}.abcdefgh"
    (half / ".removing-x" / "0" / "deep").mkdir(parents=True)
    (half / "lock").touch()
    newborn = tmp_path / f"{OTHER}.ijklmnop"  # killed before it had a lock
    newborn.mkdir()
    assert remove_abandoned(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_removing_a_link_or_nothing(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "link").symlink_to(target)
    assert remove(tmp_path / "link", parking=tmp_path) == ()
    assert remove(tmp_path / "absent", parking=tmp_path) == ()
    assert list(tmp_path.iterdir()) == [target]


@pytest.fixture
def place_of_an_ordinary_user():
    """A folder whose owner has no special rights; root becomes such a user for the test."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def test_closed_folders_are_opened_by_their_owner(place_of_an_ordinary_user):
    tree = place_of_an_ordinary_user / "tree"
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "file").write_text("x")
    for folder in (tree / "closed" / "inner", tree / "closed", tree):
        folder.chmod(0)
    assert remove(tree, parking=place_of_an_ordinary_user) == ()
    assert list(place_of_an_ordinary_user.iterdir()) == []
