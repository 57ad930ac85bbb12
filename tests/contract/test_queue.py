"""What every ``Queue`` promises (infra/core/queue.py), asked of each back end with a real receiver."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from infra.core.clock import DAY, Instant, later
from infra.core.errors import Invalid
from infra.core.queue import MAX_TASK_BYTES, Queue, RetryPolicy, Task
from tests.world.receiver import Receiver, receiving

QUICK = RetryPolicy(
    max_attempts=4, min_backoff_seconds=0.05, max_backoff_seconds=0.2, max_concurrent=20, max_per_second=500
)


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


@asynccontextmanager
async def local(folder: Path, policy: RetryPolicy) -> AsyncIterator[Queue]:
    from infra.local.queue import LocalQueue, QueuePump

    path = folder / "queue" / "contract.db"
    queue = LocalQueue(path, now)
    pump = QueuePump(path, now, sign=lambda audience: f"token-for-{audience}", policy=policy)
    stop = asyncio.Event()
    running = asyncio.create_task(pump.run(stop))
    try:
        yield queue
    finally:
        stop.set()
        await running
        await queue.close()


@asynccontextmanager
async def google(_: Path, policy: RetryPolicy) -> AsyncIterator[Queue]:
    from google.cloud import tasks_v2

    from infra.gcp.tasks import CloudTasksQueue
    from tests.world.google_cloud import INVOKER, PROJECT, REGION, google_cloud

    async with google_cloud() as cloud:
        cloud.add_queue(
            "runs",
            rate_limits=tasks_v2.RateLimits(
                max_concurrent_dispatches=policy.max_concurrent, max_dispatches_per_second=policy.max_per_second
            ),
            retry_config=tasks_v2.RetryConfig(
                max_attempts=policy.max_attempts,
                min_backoff=timedelta(seconds=policy.min_backoff_seconds),
                max_backoff=timedelta(seconds=policy.max_backoff_seconds),
            ),
        )
        queue = CloudTasksQueue(
            project=PROJECT,
            region=REGION,
            queue="runs",
            own_queue="internal",
            own_url="https://dispatcher.example",
            service_account=INVOKER,
            clock=now,
            endpoint=cloud.grpc_endpoint,
            credentials=cloud.credentials(),
        )
        yield queue
        await queue.close()


BackEnd = Callable[[Path, RetryPolicy], AbstractAsyncContextManager[Queue]]
BACK_ENDS: dict[str, BackEnd] = {"local": local, "google": google}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture(params=BACK_ENDS)
async def open_queue(
    request, tmp_path, receiver
) -> AsyncIterator[Callable[[RetryPolicy], AbstractAsyncContextManager]]:
    """Opens a queue that is being delivered under the given policy; the receiver outlives it."""
    async with AsyncExitStack() as stack:

        async def opened(policy: RetryPolicy = QUICK) -> Queue:
            return await stack.enter_async_context(BACK_ENDS[request.param](tmp_path, policy))

        yield opened


@pytest.fixture
async def queue(open_queue) -> Queue:
    return await open_queue()


@pytest.fixture
def task(receiver) -> Task:
    return Task(name=f"task-{uuid4().hex}", url=f"{receiver.url}/work", body=b'{"run_id": "run-1"}')


def named(task: Task, suffix: str, **changes) -> Task:
    return replace(task, name=f"{task.name}-{suffix}", **changes)


async def test_a_task_arrives_as_it_was_given(queue, receiver, task):
    given = replace(task, body=bytes(range(256)), headers={"Content-Type": "application/json", "X-Own": "a b"})
    assert await queue.create(given) is True
    (request,) = await receiver.until_count("/work", 1)
    assert request.body == bytes(range(256))
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-own"] == "a b"


async def test_the_headers_of_cloud_tasks_come_along(queue, receiver, task):
    receiver.answer("/work", 500)
    await queue.create(task)
    first, second = await receiver.until_count("/work", 2)
    assert first.headers["x-cloudtasks-taskname"] == second.headers["x-cloudtasks-taskname"] == task.name
    assert first.headers["x-cloudtasks-queuename"]
    assert [r.headers["x-cloudtasks-taskretrycount"] for r in (first, second)] == ["0", "1"]
    assert [r.headers["x-cloudtasks-taskexecutioncount"] for r in (first, second)] == ["0", "0"]  # 5xx do not count
    assert abs(float(first.headers["x-cloudtasks-tasketa"]) - time.time()) < 15
    assert "x-cloudtasks-taskpreviousresponse" not in first.headers
    assert second.headers["x-cloudtasks-taskpreviousresponse"] == "500"


async def test_an_identity_token_comes_along(queue, receiver, task):
    await queue.create(task)
    (request,) = await receiver.until_count("/work", 1)
    scheme, _, token = request.headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    assert token


async def test_a_name_can_be_used_once_while_open_and_after_it_ran(queue, receiver, task):
    gate = receiver.hold("/work")
    assert await queue.create(task) is True
    await receiver.until_count("/work", 1)
    assert await queue.create(task) is False
    gate.set()
    await queue.create(named(task, "after", url=f"{receiver.url}/after"))
    await receiver.until_count("/after", 1)
    assert await queue.create(replace(task, body=b"other")) is False
    assert len(receiver.at("/work")) == 1


async def test_of_many_creators_of_one_name_exactly_one_wins(queue, receiver, task):
    results = await asyncio.gather(*(queue.create(replace(task, body=b"%d" % n)) for n in range(20)))
    assert sorted(results) == [False] * 19 + [True]
    (request,) = await receiver.until_count("/work", 1)
    assert request.body == b"%d" % results.index(True)


async def test_nothing_accepted_is_lost(queue, receiver, task):
    tasks = [named(task, str(n), body=b"%d" % n) for n in range(100)]
    assert all(await asyncio.gather(*(queue.create(one) for one in tasks)))
    await receiver.until(lambda: len({r.body for r in receiver.at("/work")}) == 100)


async def test_a_task_is_not_sent_before_its_time(queue, receiver, task):
    due = later(now(), 600)
    await queue.create(replace(task, schedule_at=due))
    await queue.create(named(task, "now", url=f"{receiver.url}/now"))
    await receiver.until_count("/now", 1)
    assert not receiver.at("/work")
    await receiver.until_count("/work", 1)
    assert now() >= due


async def test_a_time_in_the_past_means_now(queue, receiver, task):
    await queue.create(replace(task, schedule_at=later(now(), -DAY)))
    await receiver.until_count("/work", 1)


@pytest.mark.parametrize("status", [400, 404, 409, 500, 302])
async def test_what_is_not_2xx_is_tried_again(queue, receiver, task, status):
    receiver.answer("/work", status, status)
    await queue.create(task)
    assert len(await receiver.until_count("/work", 3)) == 3


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_2xx_ends_a_task(queue, receiver, task, status):
    receiver.answer("/work", status)
    await queue.create(task)
    await receiver.until_count("/work", 1)
    receiver.answer("/later", 500, 500)  # two retries of another task give a repetition the time to show
    await queue.create(named(task, "later", url=f"{receiver.url}/later"))
    await receiver.until_count("/later", 3)
    assert len(receiver.at("/work")) == 1


async def test_pauses_grow_until_the_attempts_are_used_up(queue, receiver, task):
    receiver.answer("/work", *[500] * 10)
    await queue.create(task)
    requests = await receiver.until_count("/work", QUICK.max_attempts)
    first, second, third = (b.at - a.at for a, b in pairwise(requests))
    assert first >= 0.045
    assert second >= 0.09
    assert third >= 0.19
    receiver.answer("/later", 500, 500, 500)
    await queue.create(named(task, "later", url=f"{receiver.url}/later"))
    await receiver.until_count("/later", 4)
    assert len(receiver.at("/work")) == QUICK.max_attempts


async def test_a_receiver_that_is_not_there_is_tried_again(open_queue, receiver, task):
    queue = await open_queue(replace(QUICK, max_attempts=100))
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    await queue.create(replace(task, url=f"http://127.0.0.1:{port}/late"))
    receiver.answer("/other", 500)
    await queue.create(named(task, "other", url=f"{receiver.url}/other"))
    await receiver.until_count("/other", 2)  # one that fails does not stop the others
    async with receiving(port) as late:
        (request,) = await late.until_count("/late", 1)
    assert int(request.headers["x-cloudtasks-taskretrycount"]) >= 1
    assert request.headers["x-cloudtasks-taskexecutioncount"] == "0"


@pytest.mark.parametrize("status", [429, 503])
async def test_pushback_with_retry_after_holds_back_the_whole_queue(open_queue, receiver, task, status):
    queue = await open_queue(replace(QUICK, max_concurrent=1))  # so that no other task was under way already
    receiver.answer("/work", status, retry_after="1")
    await asyncio.gather(*(queue.create(named(task, str(n))) for n in range(3)))
    requests = await receiver.until_count("/work", 4)
    assert requests[1].at - requests[0].at >= 0.95
    assert len({r.headers["x-cloudtasks-taskname"] for r in requests}) == 3


async def test_no_more_than_max_concurrent_are_under_way(open_queue, receiver, task):
    queue = await open_queue(replace(QUICK, max_concurrent=3))
    gate = receiver.hold("/work")
    await asyncio.gather(*(queue.create(named(task, str(n))) for n in range(9)))
    await receiver.until_count("/work", 3)
    await asyncio.sleep(0.2)  # a fourth would come now
    assert len(receiver.at("/work")) == 3
    gate.set()
    await receiver.until_count("/work", 9)
    assert receiver.busiest == 3


async def test_no_more_than_max_per_second_are_sent(open_queue, receiver, task):
    queue = await open_queue(replace(QUICK, max_per_second=20))
    await asyncio.gather(*(queue.create(named(task, str(n))) for n in range(24)))
    requests = await receiver.until_count("/work", 24)
    burst = 4  # a fifth of a second's worth may go at once
    assert requests[-1].at - requests[0].at >= (24 - burst - 1) / 20 * 0.9


BAD_TASKS = {
    "empty name": {"name": ""},
    "slash in the name": {"name": "a/b"},
    "dot in the name": {"name": "a.b"},
    "long name": {"name": "a" * 501},
    "name not ASCII": {"name": "é"},
    "line end after the name": {"name": "a\n"},
    "short deadline": {"deadline_seconds": 14},
    "long deadline": {"deadline_seconds": 1801},
    "large body": {"body": b"x" * (MAX_TASK_BYTES + 1)},
    "large header": {"headers": {"X-Own": "x" * (MAX_TASK_BYTES + 1)}},
    "line end in a header": {"headers": {"X-Own": "a\r\nX-Other: b"}},
    "line end in a header's name": {"headers": {"X-Own\r\nX": "a"}},
    "own authorization": {"headers": {"AUTHORIZATION": "Bearer me"}},
    "own host": {"headers": {"Host": "elsewhere"}},
    "own length": {"headers": {"content-length": "0"}},
    "forged retry count": {"headers": {"x-cloudtasks-taskretrycount": "0"}},
    "other scheme": {"url": "file:///etc/passwd"},
    "no host": {"url": "http:///path"},
    "credentials": {"url": "http://user:word@127.0.0.1/"},
    "blank in the URL": {"url": "http://127.0.0.1/a b"},
    "line end in the URL": {"url": "http://127.0.0.1/a\r\nX: b"},
    "port that is none": {"url": "http://127.0.0.1:port/"},
    "long URL": {"url": "http://127.0.0.1/" + "a" * 2083},
    "line end in the audience": {"audience": "https://a\r\n"},
    "31 days ahead": {"schedule_at": later(now(), 31 * DAY)},
}


async def test_bad_tasks_are_refused(queue, receiver, task):
    for what, changes in BAD_TASKS.items():
        with pytest.raises(Invalid):
            pytest.fail(f"{what} was answered with {await queue.create(replace(task, **changes))}")
    await queue.create(task)
    (request,) = await receiver.until_count("/work", 1)
    assert request.headers["x-cloudtasks-taskname"] == task.name


async def test_the_limits_themselves_are_fine(queue, receiver, task):
    url = f"{receiver.url}/work"
    edges = [
        replace(task, name="a" * 500, deadline_seconds=15),
        named(task, "long", deadline_seconds=1800),
        named(task, "large", body=b"x" * (MAX_TASK_BYTES - len(url))),
        named(task, "empty", body=b""),
        named(task, "audience", audience="https://runner.example"),
    ]
    for edge in edges:
        assert await queue.create(edge) is True
    requests = await receiver.until_count("/work", len(edges))
    assert max(len(r.body) for r in requests) == MAX_TASK_BYTES - len(url)
