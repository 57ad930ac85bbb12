"""The main job in cloud wiring: the programs as they are deployed, with nothing but Google's endpoints changed."""

import asyncio
import os
import signal
from itertools import pairwise

import pytest

from tests.world import firestore_emulator
from tests.world.cloud import cloud_stack
from tests.world.google_cloud import BUCKET, JOBS

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def emulator():
    reason = firestore_emulator.missing()
    if reason:
        pytest.skip(reason)
    with firestore_emulator.running() as host:
        yield host


@pytest.fixture
async def cloud(tmp_path, emulator):
    async with cloud_stack(tmp_path, emulator, LEASE_SECONDS="10", HEARTBEAT_SECONDS="1") as running:
        yield running


@pytest.fixture
async def slow(tmp_path, emulator):
    """Runs are jobs, the agent is slow, and a lease is short enough to watch it run out."""
    settings = {"EXECUTOR": "job", "LEASE_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5"}
    async with cloud_stack(tmp_path, emulator, pace=0.06, **settings) as running:
        yield running


async def test_a_dispatch_becomes_a_pull_request_through_queue_and_service_and_then_through_a_job(cloud):
    cloud.google.tasks.duplicates = 1  # Cloud Tasks may deliver twice
    answer = await cloud.dispatch()
    result = answer.json()
    assert (answer.status_code, result["status"]) == (200, "succeeded"), cloud.said()
    run = await cloud.run(result["run_id"])
    assert run["changes"]["files"] == 2
    assert [pull["html_url"] for pull in await cloud.pulls()] == [result["pr_url"]]
    assert any(name.startswith(f"runs/{run['id']}/") for name in cloud.google.storage.buckets[BUCKET])
    assert max(cloud.front.served) == 1  # no instance ever serves two runs
    assert cloud.front.refused == []
    assert cloud.google.run.started == {}
    assert (run["compute"]["host"], run["compute"]["size"]) == ("service", "2x4")
    assert 0 < run["compute"]["cost_usd"] < run["compute"]["seconds"] * 0.00006

    # a longer limit makes it a job; the dispatcher is lost and comes back while it runs
    await cloud.kill()
    await cloud.start(RUN_TIMEOUT_SECONDS="3600")
    second = (await cloud.dispatch(prefer="respond-async")).json()
    await cloud.until(second["run_id"], lambda run: run["status"] == "running")
    await cloud.kill()
    await cloud.start()
    run = await cloud.ended(second["run_id"])
    assert run["status"] == "succeeded", cloud.said()
    assert run["compute"]["host"] == "job"
    (name,) = cloud.google.run.started
    assert name.startswith(f"{JOBS}/claude-code-runner-2x4/executions/")
    assert len(cloud.front.served) <= 2
    assert len(await cloud.pulls()) == 2
    everything = cloud.said()
    assert cloud.google.run.started[name].environment["RUN_TOKEN"] not in everything


@pytest.mark.full
async def test_stopping_reaches_a_running_execution(slow):
    run_id = (await slow.dispatch(prefer="respond-async")).json()["run_id"]
    await slow.until(run_id, lambda run: run["phase"] == "working")
    assert (await slow.http.post(f"/api/runs/{run_id}/cancel")).status_code == 202
    run = await slow.ended(run_id)
    assert run["status"] == "cancelled", slow.said()
    (started,) = slow.google.run.started.values()
    await asyncio.wait_for(started.ended.wait(), 30)
    assert await slow.pulls() == []


@pytest.mark.full
async def test_a_lost_execution_is_followed_by_another_and_one_pull_request_comes_of_it(slow):
    run_id = (await slow.dispatch(prefer="respond-async")).json()["run_id"]
    await slow.until(run_id, lambda run: run["phase"] == "working")
    (first,) = slow.google.run.started.values()
    os.killpg(first.process.pid, signal.SIGKILL)
    run = await slow.ended(run_id, sweeping=True)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), slow.said()
    assert len(slow.google.run.started) == 2
    assert len(await slow.pulls()) == 1


@pytest.mark.full
async def test_more_runs_than_may_be_under_way_wait_their_turn(cloud):
    await cloud.kill()
    await cloud.start(MAX_CONCURRENT_RUNS="1")
    started = [(await cloud.dispatch(prefer="respond-async")).json()["run_id"] for _ in range(3)]
    runs = [await cloud.ended(run_id, sweeping=True) for run_id in started]
    assert [run["status"] for run in runs] == ["succeeded"] * 3, cloud.said()
    spans = sorted((run["started_at"], run["finished_at"]) for run in runs)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
