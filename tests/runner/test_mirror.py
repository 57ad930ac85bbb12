"""A consumer's own WebSocket gets what was stored, in order, and holds nothing up when it is away or slow."""

import json
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from infra.core.clock import Instant
from infra.core.errors import Invalid
from infra.core.timeline import EventType
from infra.settings import RunnerSettings, load
from infra.wire import WireEvent
from runner import mirror as module
from runner.job import job_of
from runner.mirror import Mirror, check_url

RUN = "run-" + "0" * 26


def events(first, last):
    return [
        WireEvent(sequence=n, type=EventType.STDOUT, at=Instant(n), data={"text": f"line {n}"})
        for n in range(first, last + 1)
    ]


class Consumer:
    def __init__(self):
        self.got = []
        self.url = ""

    async def __call__(self, socket):
        async for message in socket:
            self.got.append(json.loads(message))

    @property
    def sequences(self):
        return [message["sequence"] for message in self.got if message["type"] != "gap"]


@asynccontextmanager
async def consumer(port=0):
    heard = Consumer()
    async with serve(heard, "127.0.0.1", port) as server:
        heard.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/feed"
        yield heard


async def test_each_stored_event_is_one_message_in_order():
    async with consumer() as heard:
        mirror = Mirror(url=heard.url, run_id=RUN)
        mirror.start()
        mirror.offer(events(1, 3))
        mirror.offer(events(4, 5))
        await mirror.close()
        assert heard.sequences == [1, 2, 3, 4, 5]
        assert heard.got[0] == {"run_id": RUN, "sequence": 1, "type": "stdout", "at": 1, "data": {"text": "line 1"}}


async def test_a_consumer_that_comes_late_gets_it_all(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    async with consumer() as first:
        port = int(first.url.split(":")[2].split("/")[0])
    mirror = Mirror(url=first.url, run_id=RUN)
    mirror.start()
    mirror.offer(events(1, 4))
    async with consumer(port) as heard:
        mirror.offer(events(5, 8))
        await mirror.close()
    assert heard.sequences == list(range(1, 9))


async def test_what_does_not_fit_is_lost_by_name_and_nobody_waits(monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    async with consumer() as heard:
        mirror = Mirror(url=heard.url, run_id=RUN)
        mirror.offer(events(1, 10))
        mirror.start()
        await mirror.close()
        assert heard.got[0] == {"run_id": RUN, "type": "gap", "data": {"first": 1, "last": 7}}
        assert heard.sequences == [8, 9, 10]


async def test_one_that_never_comes_does_not_keep_a_run_from_ending(monkeypatch):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.05)
    mirror = Mirror(url="ws://127.0.0.1:9/feed", run_id=RUN)
    mirror.start()
    mirror.offer(events(1, 1))
    await mirror.close()
    assert "feed" not in repr(mirror)


@pytest.mark.parametrize("url", ["http://x/", "wss://", "ws://example.org/feed", "nonsense"])
def test_addresses_that_are_no_websocket_or_in_the_clear_are_refused(url):
    with pytest.raises(Invalid):
        check_url(url)
    assert check_url("wss://example.org/feed?key=1") == "wss://example.org/feed?key=1"


def test_a_session_id_is_a_run_id():
    given = {"SESSION_ID": RUN, "RUN_TOKEN": "t", "GATEWAY_URL": "http://127.0.0.1:1"}
    assert job_of(load(RunnerSettings, given)).run_id == RUN
