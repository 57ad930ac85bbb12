"""Job executions and the limit on runs under way, on the real app, store and queue, with Cloud Run's stand-in beside them."""

import asyncio
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest
from google.api_core import exceptions as google

from infra.core.clock import MINUTE
from infra.core.execution import ExecutionState
from infra.core.run import LAUNCH_GRACE, MAX_LAUNCHES, PROVISION_GRACE, State
from infra.core.slots import Caps
from infra.gcp.jobs import CloudRunExecutions
from infra.local import identity
from infra.platform_secrets import INTERNAL_KEY
from infra.records.slots import RunSlots
from infra.wire import RunLaunch
from tests.world.control_plane import URL, control_plane, unchecked
from tests.world.forge import FILES
from tests.world.google_cloud import DISPATCHER, JOBS, PROJECT, REGION, google_cloud
from tests.world.google_run import program

IN_THE_CLOUD = {
    "platform": "google",
    "executor": "job",
    "google_cloud_project": PROJECT,
    "artifact_bucket": "b",
    "invoker_service_account": "i@example.com",
}


@pytest.fixture
async def cloud(tmp_path):
    async with google_cloud() as running:
        argv = [sys.executable, "-c", "import time; time.sleep(60)"]
        running.run.jobs[f"{JOBS}/claude-code-runner-2x4"] = program(argv, tmp_path / "job.log")
        yield running


@pytest.fixture
async def plane(tmp_path, cloud):
    async with plane_with_jobs(tmp_path, cloud) as running:
        yield running


@asynccontextmanager
async def plane_with_jobs(tmp_path, cloud, files=FILES):
    """The control plane of other tests, which sends its runs to jobs."""
    async with control_plane(tmp_path, files=files) as running:
        executions = CloudRunExecutions(
            project=PROJECT,
            region=REGION,
            prefix="claude-code-runner",
            endpoint=cloud.grpc_endpoint,
            credentials=cloud.credentials(),
        )
        settings = unchecked(running.services.settings, **IN_THE_CLOUD)
        yield running.with_services(replace(running.services, settings=settings, executions=lambda: executions))
        await executions.close()


def capped(plane, **caps):
    services = plane.services
    limits = Caps(**{"total": 0, "per_repository": 0, **caps})
    return plane.with_services(replace(services, slots=RunSlots(services.store, services.runs, limits)))


async def internal(plane, path, run, launch=None):
    token = identity.issue(await plane.services.platform.one(INTERNAL_KEY), audience=URL, now=plane.now)
    body = msgspec.json.encode(RunLaunch(run_id=run.id, launch=launch or run.launch))
    return await plane.http.post(path, content=body, headers={"authorization": f"Bearer {token}"})


async def launch_job(plane, run, launch=None):
    return await internal(plane, "/internal/launch-job", run, launch)


async def state_of(cloud, name, wanted):
    async with asyncio.timeout(20):
        while True:
            found = cloud.run.started[name]
            if wanted is ExecutionState.RUNNING and found.process is not None:
                return
            if wanted is ExecutionState.CANCELLED and found.ended.is_set():
                assert found.cancelled
                return
            await asyncio.sleep(0.02)


async def test_a_runs_task_goes_to_the_dispatcher_itself_and_holds_no_secret(plane):
    run = await plane.new_run()
    (task,) = plane.queue.tasks
    assert task.url == f"{URL}/internal/launch-job"
    assert task.audience == URL
    assert msgspec.json.decode(task.body) == {"run_id": run.id, "launch": 1}


async def test_the_task_starts_an_execution_that_knows_its_run_and_no_more(plane, cloud):
    run = await plane.new_run()
    answer = await launch_job(plane, run)
    (name,) = cloud.run.started
    assert answer.json() == {"execution": name}
    run = await plane.run(run.id)
    assert (run.state, run.execution) == (State.PROVISIONING, name)
    assert plane.now < run.wake_at <= plane.now + PROVISION_GRACE
    given = cloud.run.started[name].environment
    assert set(given) == {"RUN_ID", "RUN_TOKEN", "GATEWAY_URL"}
    assert given["GATEWAY_URL"] == URL
    (request,) = cloud.run.jobs_api.called("run_job")
    assert request.overrides.timeout.total_seconds() == run.limits.wall_seconds + 15 * 60


@pytest.mark.parametrize(
    ("resources", "size"),
    [
        ("{}", "2x4"),
        ("{cpu: 4}", "4x8"),
        ("{memory: 6Gi}", "4x8"),
        ("{cpu: 1, memory: 1Gi}", "1x2"),
        ("{memory: 500Gi}", "8x16"),  # more than there is: the largest
    ],
)
async def test_what_the_project_asks_for_is_rounded_up_to_a_size(tmp_path, cloud, resources, size):
    files = {**FILES, ".claude/container.yaml": f"resources: {resources}\n"}
    for each in ("1x2", "4x8", "8x16"):
        cloud.run.jobs[f"{JOBS}/claude-code-runner-{each}"] = cloud.run.jobs[f"{JOBS}/claude-code-runner-2x4"]
    async with plane_with_jobs(tmp_path, cloud, files=files) as plane:
        run = await plane.new_run()
        await launch_job(plane, run)
        assert (await plane.run(run.id)).size == size
    (name,) = cloud.run.started
    assert name.startswith(f"{JOBS}/claude-code-runner-{size}/")


async def test_the_same_task_twice_starts_one_execution(plane, cloud):
    run = await plane.new_run()
    answers = [await launch_job(plane, run) for _ in range(3)]
    assert {answer.json()["execution"] for answer in answers} == set(cloud.run.started)
    assert len(cloud.run.started) == 1


async def test_the_execution_claims_its_run_and_can_report(plane, cloud):
    run = await plane.new_run()
    await launch_job(plane, run)
    (started,) = cloud.run.started.values()
    token = started.environment["RUN_TOKEN"]
    runner = plane.holder(run.id, token)
    assert (await runner.claim()).status_code == 200
    assert (await plane.run(run.id)).state is State.RUNNING
    assert (await runner.settle("failed")).status_code == 200


async def test_an_older_launch_and_an_ended_run_start_nothing(plane, cloud):
    run = await plane.new_run()
    assert (await launch_job(plane, run, launch=7)).json() == {"execution": ""}
    key = await plane.key()
    assert (await plane.http.post(f"/api/runs/{run.id}/cancel", headers=key)).status_code == 200
    assert (await launch_job(plane, run)).json() == {"execution": ""}
    assert cloud.run.started == {}


async def test_a_missing_role_is_told_on_the_run_and_forgotten_once_it_is_granted(plane, cloud):
    cloud.roles.revoke(DISPATCHER, "roles/run.jobsExecutorWithOverrides")
    run = await plane.new_run()
    assert (await launch_job(plane, run)).status_code == 403  # the queue asks again
    waiting = await plane.run(run.id)
    assert not waiting.ended
    assert "roles/run.jobsExecutorWithOverrides" in waiting.reason.hint
    cloud.roles.grant(DISPATCHER, "roles/run.jobsExecutorWithOverrides")
    assert (await launch_job(plane, run)).status_code == 200
    assert (await plane.run(run.id)).reason is None


async def test_a_run_that_cannot_be_started_ends_with_the_reason(plane, cloud):
    cloud.roles.revoke(DISPATCHER, "roles/run.jobsExecutorWithOverrides")
    run = await plane.new_run()
    for _ in range(MAX_LAUNCHES):
        run = await plane.run(run.id)
        await launch_job(plane, run)
        plane.github.clock.forward(11 * MINUTE)
        await plane.sweep()
    run = await plane.run(run.id)
    assert (run.state, run.reason.code) == (State.FAILED, "google_forbidden")


async def test_an_answer_that_got_lost_costs_an_execution_and_nothing_else(plane, cloud):
    cloud.run.jobs_api.fail("run_job", google.ServiceUnavailable("lost"), after=True)
    run = await plane.new_run()
    assert (await launch_job(plane, run)).status_code == 503
    assert (await launch_job(plane, run)).status_code == 200
    first, second = cloud.run.started.values()
    assert (await plane.run(run.id)).execution == second.execution.name
    runners = [plane.holder(run.id, started.environment["RUN_TOKEN"]) for started in (first, second)]
    assert [(await one.claim(f"holder {n}")).status_code for n, one in enumerate(runners)] == [200, 409]


async def test_an_execution_that_never_claims_is_replaced_and_stopped(plane, cloud):
    run = await plane.new_run()
    await launch_job(plane, run)
    plane.github.clock.forward(PROVISION_GRACE + 1)
    assert (await plane.sweep())["relaunched"] == 1
    run = await plane.run(run.id)
    assert (run.state, run.launch, run.execution) == (State.QUEUED, 2, "")
    (first,) = cloud.run.started
    await state_of(cloud, first, ExecutionState.CANCELLED)
    await launch_job(plane, run)
    assert len(cloud.run.started) == 2


async def test_cancelling_before_the_claim_stops_the_execution_at_once(plane, cloud):
    run = await plane.new_run()
    await launch_job(plane, run)
    (name,) = cloud.run.started
    await state_of(cloud, name, ExecutionState.RUNNING)
    answer = await plane.http.post(f"/api/runs/{run.id}/cancel", headers=await plane.key())
    assert answer.json()["status"] == "cancelled"
    await state_of(cloud, name, ExecutionState.CANCELLED)


async def test_a_runner_that_does_not_stop_when_asked_loses_its_execution(plane, cloud):
    run = await plane.new_run()
    await launch_job(plane, run)
    (name,) = cloud.run.started
    runner = plane.holder(run.id, cloud.run.started[name].environment["RUN_TOKEN"])
    await runner.claim()
    await state_of(cloud, name, ExecutionState.RUNNING)
    await plane.http.post(f"/api/runs/{run.id}/cancel", headers=await plane.key())
    assert (await runner.beat()).json()["cancel"] is True
    task = next(task for task in plane.queue.tasks if task.name == f"stop-{run.id}-1")
    assert plane.now + 5_000 < task.schedule_at <= plane.now + 20_000
    assert cloud.run.started[name].cancelled is False
    assert (await internal(plane, "/internal/stop-execution", run)).status_code == 200
    await state_of(cloud, name, ExecutionState.CANCELLED)
    plane.github.clock.forward(2 * MINUTE)
    await plane.sweep()
    assert (await plane.run(run.id)).state is State.CANCELLED


# the limit on runs under way


async def test_a_run_without_room_waits_and_starts_when_another_ends(plane, cloud):
    plane = capped(plane, total=1)
    first, second = await plane.new_run(), await plane.new_run(task="Another thing")
    await launch_job(plane, first)
    refused = await launch_job(plane, second)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "no_capacity")
    assert int(refused.headers["retry-after"]) > 0
    assert (await plane.run(second.id)).state is State.QUEUED
    (started,) = cloud.run.started.values()
    runner = plane.holder(first.id, started.environment["RUN_TOKEN"])
    await runner.claim()
    await runner.settle("failed")
    assert (await launch_job(plane, second)).json()["execution"]


async def test_waiting_uses_up_no_launches(plane, cloud):
    plane = capped(plane, total=1)
    first, second = await plane.new_run(), await plane.new_run(task="Another thing")
    await launch_job(plane, first)
    (started,) = cloud.run.started.values()
    runner = plane.holder(first.id, started.environment["RUN_TOKEN"])
    await runner.claim()
    for _ in range(2 * MAX_LAUNCHES):
        plane.github.clock.forward(LAUNCH_GRACE + 1)
        await runner.claim()  # renews
        await plane.sweep()
    waiting = await plane.run(second.id)
    assert (waiting.state, waiting.launch) == (State.QUEUED, 1)


async def test_the_limit_of_one_repository_leaves_others_alone(plane, cloud):
    plane = capped(plane, per_repository=1)
    first, second = await plane.new_run(), await plane.new_run(task="Another thing")
    assert (await launch_job(plane, first)).status_code == 200
    assert (await launch_job(plane, second)).status_code == 429


async def test_a_slot_that_was_forgotten_is_found_by_who_needs_it(plane, cloud):
    plane = capped(plane, total=1)
    first, second = await plane.new_run(), await plane.new_run(task="Another thing")
    assert await plane.services.slots.take(first, plane.now)
    plane.github.clock.forward(2 * MINUTE)  # it never got further than its slot
    assert (await launch_job(plane, second)).status_code == 200


async def test_of_many_who_ask_at_once_no_more_than_the_limit_get_room(plane):
    plane = capped(plane, total=3)
    runs = [await plane.new_run(task=f"Task {number}") for number in range(8)]
    now = plane.now
    got = await asyncio.gather(*(plane.services.slots.take(run, now) for run in runs))
    assert sum(got) == 3
    for run, had in zip(runs, got, strict=True):
        assert await plane.services.slots.take(run, now) is had  # taking again is not taking another


async def test_the_claim_of_a_service_respects_the_limit_too(plane):
    plane = capped(plane, total=1)
    settings = unchecked(plane.services.settings, executor="service")
    plane = plane.with_services(replace(plane.services, settings=settings))
    await plane.new_run()
    await plane.new_run(task="Another thing")
    first, second = (plane.runner(task) for task in plane.queue.tasks)
    assert (await first.claim()).status_code == 200
    assert (await second.claim("runner two")).status_code == 429
    await first.settle("failed")
    assert (await second.claim("runner two")).status_code == 200
