"""The main job in cloud wiring: the programs as they are deployed, with nothing but Google's endpoints changed."""

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
