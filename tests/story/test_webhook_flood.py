"""Webhooks in masses at the real function, as a process on loopback: nothing lost, nothing twice, nobody kept waiting."""

import asyncio
import hashlib
import hmac
import sqlite3
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import httpx
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
    """Sends on time, whether or not the answers keep up; seconds that each answer took from the time it was due."""
    took, statuses = [], {}

    async def one(due, http):
        headers, body = webhooks.one()
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        answer = await http.post(f"{url}/webhook/github", content=body, headers=headers)
        took.append(time.monotonic() - due)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1

    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as http, asyncio.TaskGroup() as group:
        began = time.monotonic() + 0.5
        for number in range(per_second * seconds):
            due = began + number / per_second
            if due - time.monotonic() > 1:
                await asyncio.sleep(0.5)
            group.create_task(one(due, http))
    return took, statuses
