"""The plain sandbox: what it promises holds, and what it cannot do it says."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import runner
from infra.core.errors import Unavailable
from runner import processes
from runner.sandbox import Box, BoxLimits, PlainSandbox, end_strays
from tests.runner.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")
SH = Path(shutil.which("sh") or "/bin/sh")


@pytest.fixture
def place():
    """Open for others to pass through, as a service's workspace is."""
    with tempfile.TemporaryDirectory(prefix="pullwright-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def box_in(place: Path, **more) -> Box:
    for name in ("tree", "home", "tmp"):
        (place / name).mkdir(exist_ok=True)
    environment = {"PATH": os.defpath, "HOME": str(place / "home"), "ODD": "a 'quoted' $(touch /nope) \n line"}
    asked = {"id": f"box-{os.urandom(5).hex()}", "environment": environment} | more
    return Box(tree=place / "tree", home=place / "home", tmp=place / "tmp", **asked)


async def run_in(sandbox: PlainSandbox, box: Box, script: str, *arguments: str, **more) -> str:
    launcher = await sandbox.launcher(box, SH)
    process = await asyncio.create_subprocess_exec(
        launcher, "-c", script, "sh", *arguments, cwd=box.tree, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, **more
    )  # fmt: skip
    output, _ = await process.communicate()
    await sandbox.destroy(box)
    return output.decode()


async def test_the_environment_is_exactly_the_boxs(place, monkeypatch):
    monkeypatch.setenv("A_SECRET", "canary")
    sandbox, box = PlainSandbox(place / "launch"), box_in(place)
    output = await run_in(
        sandbox, box, "tr '\\0' '\\n' </proc/self/environ; printf %s \"$ODD\"; echo; echo args: \"$@\"", "a b", "$c"
    )
    assert "canary" not in output
    assert box.environment["ODD"] in output
    assert "args: a b $c" in output
    names = {line.partition("=")[0] for line in output.splitlines()[:3]}
    assert names <= {"PATH", "HOME", "ODD", processes.MARK_VARIABLE}


@needs_root
async def test_the_agent_is_a_user_of_its_own_that_owns_only_its_folders(place):
    sandbox, box = PlainSandbox(place / "launch"), box_in(place)
    (place / "beside").write_text("private")
    (place / "beside").chmod(0o600)
    (box.tree / "sub").mkdir()
    (box.tree / "sub" / "file").write_text("x")
    (box.tree / "link").symlink_to(place / "beside")
    (place / "shared").write_text("ours")
    (box.tree / "hard").hardlink_to(place / "shared")
    script = (
        "id -u; id -G; echo more >> sub/file && echo wrote; cat ../beside; cat link; echo > ../new; echo theirs > hard;"
        f"ls ../launch; kill -0 {os.getpid()} && echo killable; cat /proc/{os.getpid()}/environ | wc -c;"
        "grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status"
    )
    output = await run_in(sandbox, box, script)
    uid = int(output.split()[0])
    assert 61184 <= uid <= 65519
    assert output.split()[1] == str(uid)
    assert "wrote" in output
    assert "private" not in output
    assert "killable" not in output
    assert "\n0\n" in output  # bytes read from the supervisor's environment
    assert "NoNewPrivs:\t1" in output
    assert "CapEff:\t0000000000000000" in output
    assert not (place / "new").exists()
    assert (place / "beside").stat().st_uid == 0
    assert (place / "shared").read_text() == "ours"
    assert (place / "shared").stat().st_uid == 0
    assert (box.tree / "hard").read_text() == "theirs\n"


@needs_root
async def test_two_boxes_are_two_users_and_cannot_touch_each_other(place):
    sandbox = PlainSandbox(place / "launch")
    (place / "one").mkdir(mode=0o711)
    (place / "two").mkdir(mode=0o711)
    one, two = box_in(place / "one"), box_in(place / "two")
    first = await sandbox.launcher(one, SH)
    waiting = await asyncio.create_subprocess_exec(first, "-c", "echo ready; sleep 60", stdout=asyncio.subprocess.PIPE)
    assert waiting.stdout is not None
    await waiting.stdout.readline()
    victims = " ".join(str(process.pid) for process in processes.members(sandbox._marks[one.id]))
    output = await run_in(sandbox, two, f"for p in {victims}; do kill -9 $p && echo killed; done; id -u")
    assert "killed" not in output
    assert waiting.returncode is None
    assert sandbox._users[one.id] != int(output.split()[-1])
    await sandbox.destroy(one)
    assert await waiting.wait() is not None


async def test_limits_hold(place):
    limits = BoxLimits(processes=64, memory_bytes=1024**3, file_bytes=1024 * 1024)
    script = "head -c 3000000 /dev/zero > big; wc -c < big; ulimit -c; ulimit -d"
    output = await run_in(PlainSandbox(place / "launch"), box_in(place, limits=limits), script)
    assert "1048576" in output.split()
    assert output.split()[-2:] == ["0", str(1024 * 1024)]


@needs_root
async def test_more_processes_than_allowed_cannot_be_and_all_are_ended(place):
    sandbox, box = PlainSandbox(place / "launch"), box_in(place, limits=BoxLimits(processes=40))
    launcher = await sandbox.launcher(box, SH)
    bomb = "( while :; do sleep 60 & done ); exec sleep 60"
    process = await asyncio.create_subprocess_exec(
        launcher, "-c", bomb, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    mark, user = sandbox._marks[box.id], sandbox._users[box.id]
    await asyncio.to_thread(wait_until, lambda: len(processes.members(mark, user)) > 20)
    assert len(processes.members(mark, user)) <= 42
    await asyncio.wait_for(sandbox.destroy(box), 10)
    assert processes.members(mark, user) == set()
    await process.wait()


async def test_destroying_ends_everything_and_forgets_the_box(place):
    sandbox, box = PlainSandbox(place / "launch"), box_in(place)
    launcher = await sandbox.launcher(box, SH)
    process = await asyncio.create_subprocess_exec(
        launcher, "-c", "trap '' TERM; (setsid sleep 300 &) ; echo up; sleep 300", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    mark = sandbox._marks[box.id]
    assert len(processes.members(mark)) >= 3
    await sandbox.destroy(box)
    assert processes.members(mark) == set()
    assert not launcher.exists()
    await sandbox.destroy(box)  # again is fine
    await process.wait()


async def test_a_launcher_is_private_and_never_overwrites(place):
    sandbox, box = PlainSandbox(place / "launch"), box_in(place)
    launcher = await sandbox.launcher(box, SH)
    assert launcher.stat().st_mode & 0o777 == 0o700
    assert launcher.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        await sandbox.launcher(box, SH)
    await sandbox.destroy(box)


@needs_root
async def test_folders_closed_to_others_mean_the_same_user_and_a_wall_down(tmp_path):
    tmp_path.chmod(0o700)
    sandbox, box = PlainSandbox(tmp_path / "launch"), box_in(tmp_path)
    output = await run_in_and_keep(sandbox, box, "id -u")
    assert output.split() == ["0"]
    user = next(wall for wall in sandbox.walls(box) if wall.name == "user")
    assert not user.up
    assert str(tmp_path) in user.why or str(tmp_path.parent) in user.why or "pass through" in user.why
    await sandbox.destroy(box)


async def run_in_and_keep(sandbox: PlainSandbox, box: Box, script: str) -> str:
    launcher = await sandbox.launcher(box, SH)
    process = await asyncio.create_subprocess_exec(launcher, "-c", script, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()


@needs_root
async def test_a_user_that_was_asked_for_is_given_or_refused_never_replaced(place, tmp_path):
    uid = pwd.getpwnam("nobody").pw_uid
    output = await run_in(PlainSandbox(place / "launch"), box_in(place, uid=uid, gid=uid), "id -u")
    assert output.split() == [str(uid)]
    tmp_path.chmod(0o700)
    with pytest.raises(Unavailable) as refused:
        await PlainSandbox(tmp_path / "launch").launcher(box_in(tmp_path, uid=uid), SH)
    assert refused.value.code == "sandbox_unavailable"
    assert "0711" in refused.value.hint


def test_the_walls_that_are_missing_are_named(place):
    walls = {wall.name: wall for wall in PlainSandbox(place).walls()}
    assert {name for name, wall in walls.items() if not wall.up} >= {"files", "processes", "network"}
    assert walls["environment"].up
    assert all(wall.why.endswith(".") for wall in walls.values())
    same = {wall.name: wall.up for wall in PlainSandbox(place, own_user=False).walls()}
    assert not same["user"]


@needs_root
def test_a_runner_that_is_not_root_hides_its_memory_from_its_agent(place):
    """The whole of it as nobody: launcher, keeper and a probe that tries to read the runner."""
    packages = place / "packages"
    shutil.copytree(Path(runner.__file__).parent, packages / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        Path(runner.__file__).parents[1] / "infra" / "core",
        packages / "infra" / "core",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (packages / "infra" / "__init__.py").touch()
    python = next(
        (each for each in ("/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13") if Path(each).exists()),
        "",
    )
    if not python:
        pytest.skip("needs a system Python of at least 3.11 that other users can start")
    story = (
        "import asyncio,os,sys,pathlib\n"
        f"sys.path.insert(0,{str(packages)!r})\n"
        "from runner.sandbox import *\n"
        f"place=pathlib.Path({str(place / 'work')!r})\n"
        "async def main():\n"
        "    sandbox=PlainSandbox(place/'launch')\n"
        "    box=Box(id='b',tree=place,home=place,tmp=place,environment={'PATH':os.defpath})\n"
        "    launcher=await sandbox.launcher(box,pathlib.Path('/bin/sh'))\n"
        "    p=await asyncio.create_subprocess_exec(launcher,'-c',f'cat /proc/{os.getpid()}/environ; id -u; echo end')\n"
        "    await p.wait()\n"
        "    print([w.up for w in sandbox.walls(box) if w.name in ('user','memory')])\n"
        "    await sandbox.destroy(box)\n"
        "asyncio.run(main())\n"
    )
    (place / "work").mkdir()
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(place / "work", nobody, nobody)
    ran = subprocess.run(
        ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", python, "-c", story],
        env={"A_SECRET": "canary", "PATH": os.defpath}, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "end" in ran.stdout, ran.stderr
    assert "canary" not in ran.stdout
    assert "[False, True]" in ran.stdout


def test_strays_of_a_dead_runner_are_ended_at_the_next_start(place):
    story = (
        f"import asyncio,sys,pathlib,os\nsys.path.insert(0,{str(Path(runner.__file__).parents[1])!r})\n"
        "from runner.sandbox import *\n"
        f"place=pathlib.Path({str(place)!r})\n"
        "async def main():\n"
        "    box=Box(id='orphaned',tree=place/'tree',home=place/'home',tmp=place/'tmp',environment={'PATH':os.defpath})\n"
        "    launcher=await PlainSandbox(place/'launch',own_user=False).launcher(box,pathlib.Path('/bin/sh'))\n"
        "    await asyncio.create_subprocess_exec(launcher,'-c','echo $$; sleep 300')\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    box_in(place)
    dead = subprocess.Popen([sys.executable, "-c", story], stdout=subprocess.PIPE, text=True)
    assert dead.stdout is not None
    shell = int(dead.stdout.readline())
    keeper = processes.living()[shell].parent
    os.kill(keeper, 9)  # so that nothing but the mark is left
    dead.kill()
    dead.wait()
    dead.stdout.close()
    asyncio.run(end_strays())
    assert shell not in processes.living()
