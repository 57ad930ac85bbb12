"""The timeline as people read it: pages and streams, without gap or repeat, whoever is slow and whatever breaks."""

import asyncio
import json
import logging
import random
import re
import socket
from contextlib import asynccontextmanager

import httpx
import pytest

from dispatcher import event_stream, tail
from infra.core.access import Permission
from infra.core.clock import DAY
from infra.core.store import Create
from tests.runner.waiting import until
from tests.world.served import served


@pytest.fixture
async def runner(plane):
    await plane.new_run()
    runner = plane.runner()
    await runner.claim()
    return runner


@pytest.fixture
async def reader(plane, runner):
    async with served(plane.app) as url:
        yield Reader(url, f"/api/runs/{runner.id}/events", await plane.key(Permission.READ))


class Reader:
    """Follows one run over real connections."""

    def __init__(self, url, path, key):
        self.url = url
        self.path = path
        self.key = key

    @asynccontextmanager
    async def stream(self, after=0):
        headers = {**self.key, "accept": "text/event-stream", "last-event-id": str(after)}
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as http,
            http.stream("GET", self.path, headers=headers) as response,
        ):
            assert response.status_code == 200
            yield messages(response)

    async def all(self, after=0):
        async with self.stream(after) as stream:
            return [message async for message in stream]

    async def raw(self):
        """A connection of which nothing is read."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        connection.connect((host, int(port)))
        reading, writing = await asyncio.open_connection(sock=connection, limit=1024)
        head = f"GET {self.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: text/event-stream\r\nauthorization: {self.key['authorization']}\r\n\r\n"
        writing.write(head.encode())
        return reading, writing


async def messages(response):
    """(event, id, data) of each message; heartbeats as ("", 0, None)."""
    buffer = ""
    async for piece in response.aiter_text():
        buffer += piece
        *whole, buffer = buffer.split("\n\n")
        for text in whole:
            if text.startswith(":"):
                yield "", 0, None
                continue
            fields = dict(line.partition(": ")[::2] for line in text.splitlines())
            yield fields["event"], int(fields.get("id", 0)), json.loads(fields["data"])


def ids(found):
    return [number for _, number, _ in found if number]


async def test_history_then_the_live_tail_then_the_end(runner, reader):
    await runner.events(1, 3)
    async with reader.stream() as stream:
        assert [(await anext(stream))[1] for _ in range(3)] == [1, 2, 3]
        await runner.events(4, 5)
        assert [(await anext(stream))[1] for _ in range(2)] == [4, 5]
        await runner.settle("no_changes")
        rest = [message async for message in stream]
    assert [(kind, data["status"]) for kind, _, data in rest] == [("end", "no_changes")]


async def test_who_comes_back_gets_what_it_has_not_seen(runner, reader):
    await runner.events(1, 100)
    await runner.events(101, 120)
    await runner.settle("failed")
    for after in (0, 1, 50, 99, 100, 101, 119):
        assert ids(await reader.all(after)) == list(range(after + 1, 121))
    assert [kind for kind, _, _ in await reader.all(120)] == ["end"]


async def test_pages_and_the_stream_say_the_same(plane, runner, reader):
    for first in range(1, 400, 40):
        await runner.events(first, first + 39)
    await runner.settle("failed")
    paged, after = [], 0
    while True:
        answer = await plane.http.get(f"{reader.path}?after={after}&limit=70", headers=reader.key)
        page = answer.json()
        assert len(page["events"]) <= 70
        if not page["events"]:
            break
        paged += page["events"]
        after = page["after"]
    assert paged == [data for kind, _, data in await reader.all() if kind != "end"]
    assert len(paged) == 400


async def test_chunks_of_older_versions_are_read_as_well(plane, runner):
    older = {"first": 1, "last": 1, "events": [{"sequence": 1, "type": "stdout", "at": 1, "data": {"text": "old"}}]}
    await plane.services.store.commit(Create(f"runs/{runner.id}/chunks/{1:012d}", older))
    assert (await runner.events(2, 2)).json() == {"next_sequence": 3}
    events = (await plane.services.timelines.read(runner.id)).events
    assert [(event.sequence, event.data["text"]) for event in events] == [(1, "old"), (2, "2")]


async def test_many_readers_that_keep_breaking_off_miss_nothing_and_see_nothing_twice(runner, reader):
    total, rounds, people = 320, 4, 8

    async def write():
        for first in range(1, total, 16):
            await runner.events(first, first + 15)
            await asyncio.sleep(0)
        await runner.settle("failed")

    async def read(luck):
        seen = []
        for _ in range(rounds):
            patience = luck.randrange(1, total // rounds)
            async with reader.stream(seen[-1] if seen else 0) as stream:
                async for kind, number, _ in stream:
                    if kind == "end":
                        return seen
                    seen.append(number)
                    patience -= 1
                    if not patience:
                        break
        return seen + ids(await reader.all(seen[-1]))

    writing = asyncio.create_task(write())
    found = await asyncio.gather(*(read(random.Random(seed)) for seed in range(people)))
    await writing
    assert found == [list(range(1, total + 1))] * people


async def test_silence_is_filled_with_heartbeats(runner, reader, monkeypatch):
    monkeypatch.setattr(tail, "HEARTBEAT_SECONDS", 0.02)
    async with reader.stream() as stream:
        assert await anext(stream) == ("", 0, None)
        await runner.events(1, 1)
        while (message := await anext(stream))[0] == "":
            pass
        assert message[1] == 1


async def test_events_that_were_removed_as_too_old_are_named(plane, runner, reader):
    await runner.events(1, 10)
    plane.github.clock.forward(60 * DAY)
    young = plane.services.timelines
    await young.append(runner.id, [event(n) for n in range(11, 15)], plane.now)
    plane.github.clock.forward(45 * DAY)
    assert await plane.services.store.purge(plane.now) >= 1
    async with reader.stream() as stream:
        kind, number, data = await anext(stream)
        assert (kind, number, data["first"], data["last"]) == ("gap", 10, 1, 10)
        assert [(await anext(stream))[1] for _ in range(4)] == [11, 12, 13, 14]
    async with reader.stream(10) as stream:
        assert (await anext(stream))[1] == 11
    page = (await plane.http.get(f"{reader.path}?after=4", headers=reader.key)).json()
    assert (page["gap"], page["after"]) == ({"first": 5, "last": 10}, 14)


async def test_one_who_watches_while_everything_is_removed_is_told_and_goes_on(plane, runner, reader):
    await runner.events(1, 5)
    async with reader.stream() as first, reader.stream(3) as second:
        assert [(await anext(first))[1] for _ in range(5)] == [1, 2, 3, 4, 5]
        assert [(await anext(second))[1] for _ in range(2)] == [4, 5]
        plane.github.clock.forward(100 * DAY)
        await plane.services.store.purge(plane.now)
        plane.services.tails._tails[runner.id]._window.clear()
        async with reader.stream(2) as late:
            kind, number, data = await anext(late)
            assert (kind, number, data["first"]) == ("gap", 5, 3)


def event(number):
    from infra.core.clock import Instant
    from infra.core.timeline import Event, EventType

    return Event(sequence=number, type=EventType.STDOUT, at=Instant(number), data={"text": "x"})


async def flood(runner, first, last, size=30_000):
    """Events of ``size`` bytes each."""
    for number in range(first, last + 1):
        answer = await runner.events(number, number, data={"text": "x" * size})
        assert answer.status_code == 200


async def test_a_reader_that_stops_reading_does_not_hold_up_the_others(runner, reader):
    _, frozen = await reader.raw()
    async with reader.stream() as stream:
        for number in range(1, 41):
            await flood(runner, number, number)
            assert (await anext(stream))[1] == number
    frozen.close()


async def test_a_reader_that_stops_reading_is_cut_with_a_reason_and_can_come_back(
    plane, runner, reader, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "dispatcher")
    monkeypatch.setattr(event_stream, "PATIENCE_SECONDS", 0.05)
    await flood(runner, 1, 30)
    frozen, writing = await reader.raw()
    await until(lambda: "slow reader cut" in caplog.text, 60)
    assert plane.services.tails._tails == {}  # nothing is read for it any more
    monkeypatch.setattr(event_stream, "PATIENCE_SECONDS", 30)
    text = (await frozen.read(-1)).decode()
    writing.close()
    seen = [int(number) for number in re.findall(r"id: (\d+)\n", text)]
    assert seen == list(range(1, seen[-1] + 1))
    assert seen[-1] < 30
    assert re.search(r'event: cut\ndata: {"code":"slow_reader"', text)
    await runner.settle("failed")
    assert ids(await reader.all(seen[-1])) == list(range(seen[-1] + 1, 31))


async def test_nothing_is_kept_for_readers_that_went(plane, runner, reader):
    await runner.events(1, 3)
    async with reader.stream() as stream:
        assert (await anext(stream))[1] == 1
        assert plane.services.tails._tails
    await until(lambda: not plane.services.tails._tails, 60)
    await until(lambda: not plane.services.bell._waiting, 60)
