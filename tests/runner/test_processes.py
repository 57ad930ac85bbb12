"""Nothing that an agent starts outlives it: six ways to get away, and what ends them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner import keeper, processes
from runner.processes import MARK_VARIABLE, Process, ProcessesLeft, end_all, kill_tree, members, new_mark
from tests.runner.waiting import until, wait_until

ROOT = Path(keeper.__file__).parents[1]

# Each writes its number to the file named by its first argument once it has got away.
TELL = "import os,sys,time,signal\ndef tell(): open(sys.argv[1],'a').write(f'{os.getpid()}\\n'); time.sleep(300)\n"
EVADERS = {
    "new session": TELL + "os.fork() and os._exit(0)\nos.setsid()\ntell()",
    "double fork": TELL + "os.fork() and os._exit(0)\nos.setsid()\nos.fork() and os._exit(0)\ntell()",
    "deaf to signals": TELL
    + "for s in (1,2,15,1,10,12): signal.signal(s, signal.SIG_IGN)\nos.fork() and os._exit(0)\ntell()",
    "closed files": TELL
    + "os.fork() and os._exit(0)\nos.setsid()\n"
    + "f=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\nos.write(f,f'{os.getpid()}\\n'.encode())\n"
    + "os.closerange(0,64)\ntime.sleep(300)",
    "forgotten mark": "import os,sys\nos.fork() and os._exit(0)\nos.setsid()\nos.fork() and os._exit(0)\n"
    "os.execve(sys.executable,[sys.executable,'-c',\"import os,sys,time\\nopen(sys.argv[1],'a').write(f'{os.getpid()}\\\\n')"
    '\\ntime.sleep(300)",sys.argv[1]],{})',
    "always forking": TELL
    + "os.fork() and os._exit(0)\nopen(sys.argv[1],'a').write(f'{os.getpid()}\\n')\n"
    + "end=time.time()+20\n"
    + "while time.time()<end:\n    if os.fork()==0:\n        os.setsid()\n    else:\n        time.sleep(0.002)\n        os._exit(0)",
}


def alive(pid: int) -> bool:
    return pid in processes.living()


def lines_in(file: Path) -> int:
    return file.read_text().count("\n") if file.exists() else 0


def told(file: Path) -> int:
    wait_until(lambda: lines_in(file))
    return int(file.read_text().split()[0])


def start_box(mark: str, *argv: str, **more) -> subprocess.Popen:
    words = [sys.executable, "-I", "-S", "-c", keeper.PROGRAM, str(ROOT), "--", *argv]
    return subprocess.Popen(words, env={MARK_VARIABLE: mark, "PATH": os.environ["PATH"]}, **more)


@pytest.fixture
def mark():
    mark = new_mark(f"test-{os.urandom(6).hex()}")
    yield mark
    end_all(lambda: members(mark), grace=0, deadline=5)


@pytest.mark.parametrize("way", EVADERS)
async def test_the_keeper_ends_every_evader_when_the_agent_is_done(way, mark, tmp_path):
    file = tmp_path / "pid"
    waits = (
        f"import subprocess,sys,os,time\nsubprocess.run([sys.executable,'-c',sys.argv[1],sys.argv[2]])\n{WAIT_FOR_FILE}"
    )
    box = start_box(mark, sys.executable, "-c", waits, EVADERS[way], str(file))
    pid = await asyncio.to_thread(told, file)
    assert await asyncio.to_thread(box.wait, 10) == 7
    assert not alive(pid)
    assert members(mark) == set()


WAIT_FOR_FILE = (
    "while not (os.path.exists(sys.argv[2]) and os.path.getsize(sys.argv[2])): time.sleep(0.01)\nsys.exit(7)"
)


STAYS = (
    "import subprocess,sys,time,signal\nsignal.signal(15,signal.SIG_IGN)\n"
    "subprocess.run([sys.executable,'-c',sys.argv[1],sys.argv[2]])\ntime.sleep(300)"
)


@pytest.mark.parametrize("way", EVADERS)
async def test_an_agent_that_is_stopped_takes_every_evader_along(way, mark, tmp_path):
    file = tmp_path / "pid"
    box = start_box(mark, sys.executable, "-c", STAYS, EVADERS[way], str(file))
    pid = await asyncio.to_thread(told, file)
    started = time.monotonic()
    await kill_tree(lambda: members(mark), grace=0.3, deadline=8, looks=3)
    assert time.monotonic() - started < 5
    assert not alive(pid)
    await asyncio.to_thread(box.wait, 5)


async def test_a_box_without_its_keeper_is_still_found_by_its_mark(mark, tmp_path):
    file = tmp_path / "pid"
    box = start_box(mark, sys.executable, "-c", STAYS, EVADERS["double fork"], str(file))
    pid = await asyncio.to_thread(told, file)
    box.kill()
    await asyncio.to_thread(box.wait, 5)
    assert pid in {process.pid for process in members(mark)}
    await kill_tree(lambda: members(mark), grace=0, deadline=5)
    assert not alive(pid)


def test_the_agent_dies_with_a_runner_that_was_killed(mark, tmp_path):
    """The runner gets SIGKILL: nobody cleans up, and yet nothing stays."""
    file = tmp_path / "pid"
    lives = "import os,sys,time,signal\nos.fork() or os.setsid()\n" + TELL.partition("\n")[2] + "tell()"
    runner = (
        "import subprocess,sys,time\n"
        f"subprocess.Popen([sys.executable,'-I','-S','-c',{keeper.PROGRAM!r},{str(ROOT)!r},'--',sys.executable,'-c',"
        f"{lives!r},sys.argv[1]])\ntime.sleep(300)"
    )
    process = subprocess.Popen([sys.executable, "-c", runner, str(file)], env={MARK_VARIABLE: mark})
    wait_until(lambda: lines_in(file) == 2)
    process.kill()
    process.wait()
    wait_until(lambda: not members(mark), keeper.TERM_SECONDS + 3)


@pytest.mark.parametrize(
    ("program", "status"),
    [("import sys; sys.exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137), ("", 0)],
)
def test_the_keeper_passes_on_how_the_agent_ended(mark, program, status):
    assert start_box(mark, sys.executable, "-c", program).wait(10) == status


def test_the_keeper_passes_pipes_through_and_lets_go_of_them(mark):
    echo = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stdout.flush(); sys.stdout.close()"
    box = start_box(mark, sys.executable, "-c", echo, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = box.communicate(b"hello", timeout=10)
    assert (out, box.returncode) == (b"HELLO", 0)


def test_a_program_that_is_not_there_is_a_clear_end(mark):
    box = start_box(mark, "/nowhere/agent", stderr=subprocess.PIPE)
    _, said = box.communicate(timeout=10)
    assert box.returncode == 126
    assert b"could not be started" in said


def test_a_mark_is_stale_once_its_maker_is_gone():
    maker = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from runner.processes import new_mark; print(new_mark('b'))"
    )
    left = subprocess.run([sys.executable, "-c", maker], capture_output=True, text=True, check=True).stdout.strip()
    assert processes.is_stale(left)
    assert not processes.is_stale(new_mark("b"))
    assert not processes.is_stale("no mark at all")
    assert not processes.is_stale("b:1:x")


def test_strays_are_those_of_dead_runners_only(mark):
    dead = f"gone-{os.urandom(4).hex()}:{os.getpid()}:1"  # this number, but not this process
    started = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], env={MARK_VARIABLE: each})
        for each in (mark, dead)
    ]
    try:
        found = {process.pid for process in processes.strays()}
        assert started[1].pid in found
        assert started[0].pid not in found
        assert os.getpid() not in found
    finally:
        for each in started:
            each.kill()
            each.wait()


def test_what_cannot_be_ended_is_named():
    me = Process(os.getpid(), os.getppid(), -1)  # never signalled: another process has this number now
    with pytest.raises(ProcessesLeft) as left:
        end_all(lambda: {me}, grace=0, deadline=0.1)
    assert str(os.getpid()) in left.value.message


async def test_a_cancelled_stop_still_stops_everything(mark):
    box = start_box(
        mark, sys.executable, "-c", "import time,signal; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
    )
    await until(lambda: len(members(mark)) == 2)
    stopping = asyncio.ensure_future(kill_tree(lambda: members(mark), grace=0.3))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert members(mark) == set()
    box.wait(5)


def test_signals_reach_only_the_process_that_was_meant():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        meant = processes.living()[child.pid]
        processes.send([meant._replace(started=meant.started - 1)], signal.SIGKILL)
        time.sleep(0.05)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
