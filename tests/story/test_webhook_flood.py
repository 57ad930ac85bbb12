"""Webhooks in masses at the real function, as a process on loopback: nothing lost, nothing twice, nobody kept waiting."""

import asyncio
import hashlib
import hmac
import re
import sqlite3
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.bench.door import dispatcher, stored
from tests.bench.webhooks import SECRET, Webhooks

THREADS = 64
COPIES = 20


def signed(body, delivery=""):
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "x-github-event": "issues",
        "x-github-delivery": delivery or str(uuid.uuid4()),
        "x-hub-signature-256": f"sha256={signature}",
    }


@pytest.mark.parametrize("deliveries", [30, pytest.param(1_000, marks=[pytest.mark.full, pytest.mark.timeout(900)])])
def test_copies_of_deliveries_make_one_run_each(tmp_path, deliveries):
    """Half of the copies carry the delivery's id, as GitHub's own repetitions do, half a fresh one, as a replay would."""
    webhooks = Webhooks(tmp_path)
    originals = [webhooks.one() for _ in range(deliveries)]
    with dispatcher(tmp_path) as program:
        program.first_answer("GET", "/health")
        host = program.url.removeprefix("http://")

        def send(number):
            headers, body = originals[number // COPIES]
            if number % 2:
                headers = signed(body)
            connection = HTTPConnection(host, timeout=120)
            try:
                connection.request("POST", "/webhook/github", body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(send, range(deliveries * COPIES)))
        assert {status for status, _ in answers} <= {200, 202}, [one for one in answers if one[0] not in {200, 202}][:3]
        found = stored(tmp_path / "data")
    assert found["runs"] == deliveries
    with closing(sqlite3.connect(f"file:{tmp_path / 'data' / 'queue.db'}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM tasks WHERE name LIKE 'run-%-1'")]
    assert len(names) == len(set(names)) == deliveries


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_three_hundred_a_second_for_a_minute(tmp_path):
    per_second, seconds = 300, 60
    webhooks = Webhooks(tmp_path)
    with dispatcher(tmp_path) as program:
        program.first_answer("GET", "/health")
        took, statuses = await flood(program.url, webhooks, per_second, seconds)
        found = stored(tmp_path / "data")
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    assert statuses == {202: per_second * seconds}
    assert found["runs"] == per_second * seconds
    assert p99 < 0.25


async def flood(url, webhooks, per_second, seconds):
    """Sends on time over 32 connections, whether or not the answers keep up; seconds from when each was due to its answer."""
    took, statuses, numbers = [], {}, iter(range(per_second * seconds))
    began = time.monotonic() + 0.5
    host, port = url.removeprefix("http://").split(":")

    async def sender():
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            headers, body = webhooks.one()
            lines = [f"{name}: {value}" for name, value in {**headers, "content-length": len(body)}.items()]
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            writer.write(
                "\r\n".join(["POST /webhook/github HTTP/1.1", f"host: {host}", *lines, "", ""]).encode() + body
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
            took.append(time.monotonic() - due)
            status = int(head.split()[1])
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(sender() for _ in range(32)))
    return took, statuses
