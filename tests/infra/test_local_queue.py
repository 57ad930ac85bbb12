"""What is particular to the local queue: its file, its pump's life and death, dead letters, nudges."""

import asyncio
import logging
import os
import sqlite3
import stat
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from infra.core.clock import DAY, HOUR, MINUTE, SECOND, Instant, later
from infra.core.errors import Conflict, Invalid, NotFound, Unavailable
from infra.core.queue import RetryPolicy, Task
from infra.local.queue import LocalQueue, QueuePump
from infra.local.queue_rules import Answer, Finished
from infra.local.queue_table import LEASE_MARGIN, lease, settle
from tests.world.receiver import Receiver, receiving

POLICY = RetryPolicy(
    max_attempts=3, min_backoff_seconds=0.02, max_backoff_seconds=0.1, max_concurrent=32, max_per_second=10_000
)


class SettableClock:
    def __init__(self) -> None:
        self.moment = Instant(1_800_000_000_000)
        self.asked = 0

    def __call__(self) -> Instant:
        self.asked += 1
        return self.moment

    def forward(self, milliseconds: int) -> None:
        self.moment = later(self.moment, milliseconds)


def real_time() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def sign(audience: str) -> str:
    return f"for:{audience}"


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "data" / "queue.db"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
async def queue(path, clock) -> AsyncIterator[LocalQueue]:
    opened = LocalQueue(path, clock)
    yield opened
    await opened.close()


@asynccontextmanager
async def pumping(path, clock, policy=POLICY, sign=sign) -> AsyncIterator[None]:
    stop = asyncio.Event()
    pump = QueuePump(path, clock, sign=sign, policy=policy)
    running = asyncio.create_task(pump.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


@pytest.fixture
def task(receiver) -> Task:
    return Task(name="task", url=f"{receiver.url}/work", body=b"{}")


def poke(receiver, name) -> Task:
    return Task(name=name, url=f"{receiver.url}/{name}", body=b"")


async def delivered(queue, receiver, name) -> None:
    """Something new went all the way: the pump has looked since."""
    assert await queue.create(poke(receiver, name))
    await receiver.until_count(f"/{name}", 1)


async def until_dead(queue: LocalQueue, count: int):
    async with asyncio.timeout(10):
        while len(letters := await queue.dead_letters()) < count:  # noqa: ASYNC110 - see below
            await asyncio.sleep(0.01)  # a dead letter rings no bell
    return letters


def change(path: Path, statement: str, *values) -> None:
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


# The request


async def test_the_token_is_for_the_audience_or_else_the_origin(queue, receiver, path, clock, task):
    async with pumping(path, clock):
        await queue.create(task)
        await queue.create(replace(task, name="named", url=f"{receiver.url}/named", audience="https://runner.example"))
        (origin,) = await receiver.until_count("/work", 1)
        (named,) = await receiver.until_count("/named", 1)
    assert origin.headers["authorization"] == f"Bearer for:{receiver.url}"
    assert named.headers["authorization"] == "Bearer for:https://runner.example"


async def test_a_token_that_cannot_be_made_is_a_failed_attempt(queue, receiver, path, clock, task):
    def refuse(audience):
        if "example" in audience:
            raise Unavailable("the key is gone")
        return sign(audience)

    async with pumping(path, clock, replace(POLICY, max_attempts=1), sign=refuse):
        await queue.create(replace(task, name="unsigned", audience="https://example"))
        await queue.create(task)
        await receiver.until_count("/work", 1)
        (letter,) = await until_dead(queue, 1)
    assert letter.name == "unsigned"
    assert "the key is gone" in letter.reason
    assert len(receiver.requests) == 1


async def test_a_redirect_is_a_failure_and_is_not_followed(queue, receiver, path, clock, task):
    receiver.answer("/work", 307, location=f"{receiver.url}/elsewhere")
    async with pumping(path, clock, replace(POLICY, max_attempts=1)):
        await queue.create(task)
        (letter,) = await until_dead(queue, 1)
    assert letter.last_status == 307
    assert not receiver.at("/elsewhere")


async def test_names_of_the_queue_and_type_of_the_body_have_defaults(queue, receiver, path, clock, task):
    async with pumping(path, clock):
        await queue.create(task)
        (request,) = await receiver.until_count("/work", 1)
    assert request.headers["x-cloudtasks-queuename"] == "queue"
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["user-agent"] == "Google-Cloud-Tasks"


async def test_past_its_deadline_an_attempt_is_broken_off_and_made_again(receiver, path, task):
    queue = LocalQueue(path, real_time)
    receiver.hold("/work")
    await queue.create(task)
    change(path, "UPDATE tasks SET deadline_ms = 100")  # what create() refuses, so that nobody waits 15 s
    async with pumping(path, real_time):
        first, second = await receiver.until_count("/work", 2)
    assert 0.09 <= second.at - first.at < 5  # and not only when the lease lapses, after ten seconds
    assert second.headers["x-cloudtasks-taskretrycount"] == "1"
    assert second.headers["x-cloudtasks-taskexecutioncount"] == "0"
    assert "x-cloudtasks-taskpreviousresponse" not in second.headers
    await queue.close()


# Time and memory


async def test_a_task_waits_for_its_hour(queue, receiver, path, clock, task):
    async with pumping(path, clock):
        await queue.create(replace(task, schedule_at=later(clock.moment, HOUR)))
        clock.forward(HOUR - 1)
        await delivered(queue, receiver, "before")
        assert not receiver.at("/work")
        clock.forward(1)
        await delivered(queue, receiver, "after")
        (request,) = await receiver.until_count("/work", 1)
    assert float(request.headers["x-cloudtasks-tasketa"]) == clock.moment / 1000


async def test_a_name_is_remembered_for_an_hour_after_its_task_ended_and_then_forgotten(
    queue, receiver, path, clock, task
):
    async with pumping(path, clock):
        await queue.create(task)
        await receiver.until_count("/work", 1)
        await delivered(queue, receiver, "settled")
        clock.forward(HOUR)
        await delivered(queue, receiver, "an-hour-on")
        assert await queue.create(task) is False
        clock.forward(2 * MINUTE)
        await delivered(queue, receiver, "a-little-later")
        assert await queue.create(task) is True
        await receiver.until_count("/work", 2)


async def test_bodies_and_addresses_of_ended_tasks_are_not_kept(queue, receiver, path, clock, task):
    async with pumping(path, clock):
        await queue.create(replace(task, body=b"run-token-canary", headers={"X-Own": "canary"}))
        await receiver.until_count("/work", 1)
        await delivered(queue, receiver, "settled")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT url, headers, body, audience FROM tasks WHERE name = 'task'").fetchall()
    assert rows == [("", "", b"", "")]


# Dead letters


async def test_a_poison_task_becomes_a_dead_letter_and_can_be_replayed(queue, receiver, path, clock, task):
    receiver.answer("/work", 400, 404, 500)

    async def tick():
        while True:  # the pauses between attempts are measured by the clock
            await asyncio.sleep(0.01)
            clock.forward(20)

    async with pumping(path, clock):
        ticking = asyncio.create_task(tick())
        await queue.create(replace(task, body=b"poison", headers={"X-Own": "kept"}))
        (letter,) = await until_dead(queue, 1)
        assert (letter.name, letter.url, letter.attempts, letter.last_status) == ("task", task.url, 3, 500)
        assert letter.reason == "All 3 attempts failed; the last one with: status 500"
        assert abs(letter.died_at - clock.moment) < SECOND * 5
        assert await queue.create(task) is False  # the name is still known
        await queue.replay("task")
        requests = await receiver.until_count("/work", 4)
        ticking.cancel()
    last = requests[-1]
    assert (last.body, last.headers["x-own"]) == (b"poison", "kept")
    assert last.headers["x-cloudtasks-taskretrycount"] == "0"
    assert "x-cloudtasks-taskpreviousresponse" not in last.headers
    assert await queue.dead_letters() == ()


async def test_only_dead_letters_can_be_replayed(queue, task):
    await queue.create(task)
    with pytest.raises(Conflict, match="is open"):
        await queue.replay("task")
    with pytest.raises(NotFound):
        await queue.replay("unknown")
    with pytest.raises(Invalid):
        await queue.replay("\ud800")


async def test_dead_letters_come_latest_first_and_are_forgotten_after_a_month(queue, receiver, path, clock, task):
    for name in ("first", "second"):
        await queue.create(replace(task, name=name))
        change(path, "UPDATE tasks SET url = 'nowhere' WHERE name = ?", name)
    async with pumping(path, clock):
        assert [letter.name for letter in await until_dead(queue, 2)] == ["second", "first"]
        assert len(await queue.dead_letters(limit=1)) == 1
        clock.forward(31 * DAY + MINUTE)
        await delivered(queue, receiver, "much-later")
        assert await queue.dead_letters() == ()


CORRUPTIONS = {
    "headers no JSON": "headers = '{'",
    "headers a list": "headers = '[]'",
    "headers of numbers": """headers = '{"a": 1}'""",
    "headers too deep": "headers = replace(hex(zeroblob(50000)), '00', '[')",
    "headers not UTF-8": "headers = CAST(x'7bff' AS TEXT)",
    "URL of another scheme": "url = 'ftp://127.0.0.1/'",
    "URL not UTF-8": "url = CAST(x'ff' AS TEXT)",
    "URL a blob": "url = x'00'",
    "body text": "body = 'text'",
    "deadline a word": "deadline_ms = 'soon'",
    "deadline negative": "deadline_ms = -1",
    "deadline a year": "deadline_ms = 31536000000",
    "due at a word": "due_at = 'soon'",
    "attempts a word": "attempts = 'many'",
    "attempts negative": "attempts = -5",
    "name with a line end": "name = 'a' || char(10)",
    "name a blob": "name = x'00ff'",
}


async def test_rows_that_make_no_sense_are_buried_with_a_reason_and_the_others_go_on(
    queue, receiver, path, clock, task
):
    for number, assignment in enumerate(CORRUPTIONS.values()):
        await queue.create(replace(task, name=f"bad-{number}"))
        change(path, f"UPDATE tasks SET {assignment} WHERE name = ?", f"bad-{number}")
    await queue.create(task)
    async with pumping(path, clock, replace(POLICY, max_concurrent=2)):
        await receiver.until_count("/work", 1)
        letters = await until_dead(queue, len(CORRUPTIONS))
    assert len(receiver.requests) == 1
    assert all(letter.reason.startswith("The stored task makes no sense") for letter in letters)


# The pump's life


async def test_two_pumps_cannot_have_one_file(path, clock, queue, receiver):
    async with pumping(path, clock):
        await delivered(queue, receiver, "running")
        with pytest.raises(Conflict, match="Another process") as caught:
            await QueuePump(path, clock, sign=sign, policy=POLICY).run(asyncio.Event())
        assert caught.value.code == "queue_pump_running"
        await delivered(queue, receiver, "undisturbed")
    async with pumping(path, clock):
        await delivered(queue, receiver, "next")


async def test_a_stopped_pump_gives_back_what_it_held_and_the_attempt_does_not_count(
    queue, receiver, path, clock, task
):
    receiver.hold("/work")
    await queue.create(task)
    async with pumping(path, clock):
        await receiver.until_count("/work", 1)
    async with pumping(path, clock):
        again = (await receiver.until_count("/work", 2))[1]
    assert again.headers["x-cloudtasks-taskretrycount"] == "0"


async def start_pump(path: Path) -> asyncio.subprocess.Process:
    program = Path(__file__).with_name("local_queue_pump.py")
    return await asyncio.create_subprocess_exec(sys.executable, str(program), str(path))


async def test_after_sigkill_the_next_pump_delivers_at_once_what_the_dead_one_held(receiver, path, task):
    queue = LocalQueue(path, real_time)
    gate = receiver.hold("/work")
    names = [f"task-{n}" for n in range(5)]
    await asyncio.gather(*(queue.create(replace(task, name=name)) for name in names))
    victim = await start_pump(path)
    try:
        await receiver.until_count("/work", 5)
        await queue.create(replace(task, name="waiting", schedule_at=later(real_time(), 300)))
    finally:
        victim.kill()
        await victim.wait()
    gate.set()
    async with pumping(path, real_time):
        requests = (await receiver.until_count("/work", 11))[5:]
    assert {r.headers["x-cloudtasks-taskname"] for r in requests} == {*names, "waiting"}
    counts = {r.headers["x-cloudtasks-taskname"]: r.headers["x-cloudtasks-taskretrycount"] for r in requests}
    assert counts == dict.fromkeys(names, "1") | {"waiting": "0"}
    assert [await queue.create(replace(task, name=name)) for name in names] == [False] * 5
    await queue.close()


async def test_a_task_that_kills_the_pump_each_time_ends_as_a_dead_letter(queue, receiver, path, clock, task):
    await queue.create(task)
    change(path, "UPDATE tasks SET leased = 1, attempts = 3, due_at = due_at + 600000")  # as three kills leave it
    async with pumping(path, clock):
        (letter,) = await until_dead(queue, 1)
    assert letter.reason == "The queue was stopped during the last attempt."
    assert not receiver.at("/work")


async def test_a_lease_lapses_after_deadline_and_margin_and_fences_its_first_holder(queue, path, clock, task):
    await queue.create(task)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        now = clock.moment
        lapses_at = Instant(now + 600 * SECOND + LEASE_MARGIN)
        ((first,), next_due) = lease(connection, now, 5, 9)
        assert next_due == lapses_at
        assert lease(connection, Instant(lapses_at - 1), 5, 9)[0] == []
        ((second,), _) = lease(connection, lapses_at, 5, 9)
        assert (first.attempt, second.attempt) == (1, 2)
        assert settle(connection, first, Answer(200), Finished(), lapses_at) is False
        assert settle(connection, second, Answer(200), Finished(), lapses_at) is True
        assert settle(connection, second, Answer(200), Finished(), lapses_at) is False


async def test_an_idle_pump_sleeps(queue, receiver, path, clock):
    async with pumping(path, clock):
        await delivered(queue, receiver, "running")
        await asyncio.sleep(0.05)
        before = clock.asked
        await asyncio.sleep(0.6)
        assert clock.asked - before <= 6  # one look a second asks the time three times


async def test_a_pump_with_all_hands_full_sleeps_too(queue, receiver, path, clock, task):
    receiver.hold("/work")
    await asyncio.gather(*(queue.create(replace(task, name=f"task-{n}")) for n in range(8)))
    async with pumping(path, clock, replace(POLICY, max_concurrent=2)):
        await receiver.until_count("/work", 2)
        await asyncio.sleep(0.05)
        before = clock.asked
        await asyncio.sleep(0.4)
        assert clock.asked - before <= 6
        with closing(sqlite3.connect(path)) as connection:  # the deadline of those that wait does not run yet
            assert connection.execute("SELECT count(*) FROM tasks WHERE attempts > 0").fetchone() == (2,)


async def test_a_hand_that_comes_free_is_used_at_once(queue, receiver, path, clock, task):
    await asyncio.gather(*(queue.create(replace(task, name=f"task-{n}")) for n in range(8)))
    async with pumping(path, clock, replace(POLICY, max_concurrent=1)):
        requests = await receiver.until_count("/work", 8)
    assert requests[-1].at - requests[0].at < 3


# Nudges


async def test_new_tasks_are_noticed_at_once(queue, receiver, path, clock):
    async with pumping(path, clock):
        await delivered(queue, receiver, "warm")
        taken = 0.0
        for n in range(6):
            await asyncio.sleep(0.05)  # by now the pump has settled the one before, and sleeps
            started = time.monotonic()
            await delivered(queue, receiver, f"task-{n}")
            taken += time.monotonic() - started
        assert taken < 2  # without nudges: six times nearly a second


async def test_a_lost_nudge_costs_a_second_at_most(queue, receiver, path, clock):
    async with pumping(path, clock):
        await delivered(queue, receiver, "warm")
        path.with_name("queue.db.nudge").unlink()
        started = time.monotonic()
        await delivered(queue, receiver, "unheard")
        assert time.monotonic() - started < 2


async def test_a_path_too_long_for_a_socket_only_costs_speed(tmp_path, receiver, clock, caplog):
    path = tmp_path / ("long" * 30) / "queue.db"
    queue = LocalQueue(path, clock)
    with caplog.at_level(logging.WARNING):
        async with pumping(path, clock):
            await delivered(queue, receiver, "task")
    await queue.close()
    assert "within a second" in caplog.text


async def test_rubbish_at_the_doorbell_is_harmless(queue, receiver, path, clock):
    import socket

    async with pumping(path, clock):
        await delivered(queue, receiver, "warm")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for rubbish in (b"", b"\0" * 1000, b"task"):
                stranger.sendto(rubbish, str(path.with_name("queue.db.nudge")))
        await delivered(queue, receiver, "after")


# The file


async def test_only_the_owner_may_read_the_file(queue, receiver, path, clock, task):
    umask = os.umask(0)
    try:
        async with pumping(path, clock):
            await queue.create(task)
            await receiver.until_count("/work", 1)
            files = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir() if p.is_file()}
    finally:
        os.umask(umask)
    assert set(files) >= {"queue.db", "queue.db-wal", "queue.db.lock"}
    assert set(files.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_creators_in_several_processes_agree_who_was_first(path):
    """The making of the file is part of the race."""
    program = (
        "import asyncio, pathlib, sys\n"
        "from infra.core.queue import Task\n"
        "from infra.local.queue import LocalQueue\n"
        "async def main():\n"
        "    queue = LocalQueue(pathlib.Path(sys.argv[1]), lambda: 1)\n"
        "    tasks = [Task(name=f't{n}', url='http://127.0.0.1/', body=b'') for n in range(40)]\n"
        "    print(sum(await asyncio.gather(*(queue.create(task) for task in tasks))))\n"
        "    await queue.close()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    creators = [await asyncio.create_subprocess_exec(*command, stdout=PIPE) for _ in range(4)]
    outputs = [(await creator.communicate())[0] for creator in creators]
    assert [creator.returncode for creator in creators] == [0] * 4
    assert sum(int(output) for output in outputs) == 40
    assert not list(path.parent.glob(".draft-*"))


async def test_a_cancelled_creator_does_not_disturb_the_others(queue, task):
    creators = [asyncio.create_task(queue.create(replace(task, name=f"task-{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    creators[3].cancel()
    results = await asyncio.gather(*creators, return_exceptions=True)
    assert isinstance(results.pop(3), asyncio.CancelledError)
    assert results == [True] * 9


async def test_a_damaged_file_is_a_sentence_not_a_hang(path, clock, task):
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 500)
    queue = LocalQueue(path, clock)
    with pytest.raises(Unavailable, match="could not be used") as caught:
        await queue.create(task)
    assert caught.value.code == "queue_down"
    with pytest.raises(Unavailable):
        await QueuePump(path, clock, sign=sign, policy=POLICY).run(asyncio.Event())
    await queue.close()


async def test_a_file_of_another_format_is_left_alone(queue, path, clock, task):
    await queue.create(task)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    newcomer = LocalQueue(path, clock)
    with pytest.raises(Unavailable, match="format 99"):
        await newcomer.create(task)
    await newcomer.close()


async def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path, clock, task):
    (tmp_path / "file").write_text("not a folder")
    queue = LocalQueue(tmp_path / "file" / "queue.db", clock)
    with pytest.raises(Unavailable):
        await queue.create(task)
    await queue.close()
    with pytest.raises(Unavailable, match="is closed"):
        await queue.create(task)


async def test_closing_waits_for_what_was_accepted(queue, path, clock, task):
    creating = [asyncio.create_task(queue.create(replace(task, name=f"task-{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await queue.close()
    assert await asyncio.gather(*creating) == [True] * 50


# Figures, printed: what is asserted is only that nothing was lost


async def test_throughput_and_latency(path, receiver, task, capsys):
    queue = LocalQueue(path, real_time)
    creators, each, due = 16, 200, 300

    async def create(creator):
        later_tasks = (
            replace(task, name=f"t-{creator}-{n}", schedule_at=later(real_time(), HOUR)) for n in range(each)
        )
        return sum([await queue.create(one) for one in later_tasks])

    await queue.create(replace(task, name="opens-the-file", schedule_at=later(real_time(), HOUR)))
    started = time.perf_counter()
    assert sum(await asyncio.gather(*(create(creator) for creator in range(creators)))) == creators * each
    creating = time.perf_counter() - started

    await asyncio.gather(*(queue.create(replace(task, name=f"due-{n}")) for n in range(due)))
    pump = await start_pump(path)
    try:
        requests = await receiver.until_count("/work", due)
        delivering = requests[-1].at - requests[0].at
        latencies = []
        for n in range(50):
            sent = time.monotonic()
            await queue.create(poke(receiver, f"one-{n}"))
            (request,) = await receiver.until_count(f"/one-{n}", 1)
            latencies.append((request.at - sent) * 1000)
    finally:
        pump.kill()
        await pump.wait()
    await queue.close()
    assert len(receiver.requests) == due + 50
    cuts = statistics.quantiles(latencies, n=100)
    with capsys.disabled():
        sys.stdout.write(
            f"\nlocal queue: {creators * each / creating:,.0f} creates/s, {due / delivering:,.0f} deliveries/s, "
            f"create to POST {cuts[49]:.1f} ms p50, {cuts[98]:.1f} ms p99\n"
        )
