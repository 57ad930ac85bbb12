"""What is particular to the Google adapters: missing roles by name, quota, outages, lost answers, damaged and odd content."""

import asyncio
import sys
import time
from dataclasses import replace

import pytest
from google.api_core import exceptions as google
from google.cloud.secretmanager_v1 import SecretVersion

from infra.core.clock import Instant
from infra.core.errors import Forbidden, Invalid, NotFound, Unavailable
from infra.core.execution import ExecutionState, ResourceClass
from infra.core.queue import Task
from infra.gcp.buckets import CloudStorageBucket
from infra.gcp.jobs import CloudRunExecutions
from infra.gcp.secrets import SecretManagerSecrets
from infra.gcp.tasks import CloudTasksQueue
from tests.world.google_cloud import BUCKET, DISPATCHER, INVOKER, JOBS, PROJECT, REGION, RUNNER, google_cloud
from tests.world.google_run import program

SIZE = ResourceClass(1, 2)


def now():
    return Instant(time.time_ns() // 1_000_000)


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


@pytest.fixture
async def as_identity(cloud):
    """Adapters in the name of a service account."""
    made = []

    def make(kind, email=DISPATCHER):
        credentials = cloud.credentials(email)
        adapters = {
            "secrets": lambda: SecretManagerSecrets(
                project=PROJECT, endpoint=cloud.grpc_endpoint, credentials=credentials
            ),
            "queue": lambda: CloudTasksQueue(
                project=PROJECT,
                region=REGION,
                queue="runs",
                own_queue="internal",
                own_url="https://dispatcher.example",
                service_account=INVOKER,
                clock=now,
                endpoint=cloud.grpc_endpoint,
                credentials=credentials,
            ),
            "executions": lambda: CloudRunExecutions(
                project=PROJECT, region=REGION, prefix="runner", endpoint=cloud.grpc_endpoint, credentials=credentials
            ),
            "bucket": lambda: CloudStorageBucket(
                project=PROJECT, bucket=BUCKET, endpoint=cloud.http_url, credentials=credentials
            ),
        }
        made.append(adapters[kind]())
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


@pytest.fixture
def task():
    return Task(name="run-1", url="https://runner.example/process-issue", body=b"{}")


async def some(*chunks):
    for chunk in chunks:
        yield chunk


# missing permissions


async def test_a_missing_role_is_named(cloud, as_identity, task):
    cloud.add_queue("runs")
    await cloud.put_secret("webhook", b"x")
    cases = {
        "roles/secretmanager.secretAccessor": as_identity("secrets", RUNNER).get("webhook"),
        "roles/secretmanager.secretVersionAdder": as_identity("secrets", RUNNER).put("webhook", b"y"),
        "roles/cloudtasks.enqueuer": as_identity("queue", RUNNER).create(task),
        "roles/run.jobsExecutorWithOverrides": as_identity("executions", RUNNER).start(SIZE, {}, 60),
        "roles/storage.objectUser": as_identity("bucket", RUNNER).put(
            "a", some(b"x"), content_type="text/plain", max_bytes=10
        ),
    }
    for role, call in cases.items():
        with pytest.raises(Forbidden) as caught:
            await call
        assert role in caught.value.hint, caught.value
        assert caught.value.code == "google_forbidden"


async def test_the_right_to_act_as_the_invoker_is_named_too(cloud, as_identity, task):
    cloud.add_queue("runs")
    cloud.roles.revoke(DISPATCHER, "roles/iam.serviceAccountUser")
    with pytest.raises(Forbidden) as caught:
        await as_identity("queue").create(task)
    assert "roles/iam.serviceAccountUser" in caught.value.hint


async def test_an_api_that_is_switched_off_says_what_to_type(cloud, as_identity, task):
    cloud.add_queue("runs")
    words = "Cloud Tasks API has not been used in project 1 before or it is disabled."
    cloud.tasks.api.fail("create_task", google.PermissionDenied(words))
    with pytest.raises(Forbidden) as caught:
        await as_identity("queue").create(task)
    assert caught.value.hint == "Type: gcloud services enable cloudtasks.googleapis.com"


# quota and outages


@pytest.mark.parametrize(
    "trouble",
    [google.ServiceUnavailable("try again"), google.InternalServerError("oh"), google.ResourceExhausted("quota")],
)
async def test_passing_trouble_is_waited_out(cloud, as_identity, task, trouble):
    cloud.add_queue("runs")
    cloud.tasks.api.fail("create_task", trouble, times=2)
    assert await as_identity("queue").create(task) is True
    assert len(cloud.tasks.api.called("create_task")) == 3


async def test_a_task_whose_answer_was_lost_is_created_once(cloud, as_identity, task):
    cloud.add_queue("runs")
    cloud.tasks.api.fail("create_task", google.ServiceUnavailable("lost"), after=True)
    assert await as_identity("queue").create(task) is False  # it is known already, which is success
    assert len(cloud.tasks.named("runs").known) == 1


async def test_trouble_that_stays_ends_in_a_sentence(cloud, as_identity, monkeypatch):
    monkeypatch.setattr("infra.gcp.secrets.patient", lambda: None)
    await cloud.put_secret("webhook", b"x")
    cloud.secrets.api.fail("access_secret_version", google.ServiceUnavailable("down for maintenance"), times=99)
    with pytest.raises(Unavailable, match="down for maintenance"):
        await as_identity("secrets").get("webhook")


async def test_a_queue_that_does_not_exist_is_a_trouble_of_the_installation(as_identity, task):
    with pytest.raises(Unavailable) as caught:
        await as_identity("queue").create(task)
    assert "terraform apply" in caught.value.hint


# the queue


async def test_calls_to_the_dispatcher_never_wait_behind_runs(cloud, as_identity, task):
    cloud.add_queue("runs")
    cloud.add_queue("internal")
    queue = as_identity("queue")
    await queue.create(task)
    await queue.create(replace(task, name="sweep", url="https://dispatcher.example/internal/sweep"))
    await queue.create(replace(task, name="trick", url="https://dispatcher.example.evil/internal/sweep"))
    assert [name.rpartition("/")[2] for name in cloud.tasks.named("internal").known] == ["sweep"]
    assert len(cloud.tasks.named("runs").known) == 2


async def test_the_token_is_for_the_invoker_and_the_audience(cloud, as_identity, task):
    cloud.add_queue("runs")
    await as_identity("queue").create(task)
    (sent,) = cloud.tasks.api.called("create_task")
    oidc = sent.task.http_request.oidc_token
    assert (oidc.service_account_email, oidc.audience) == (INVOKER, "https://runner.example")
    assert sent.task.dispatch_deadline.total_seconds() == 600


# secrets


async def test_a_rotation_overlaps_and_disabled_versions_are_skipped(cloud, as_identity):
    for value in (b"one", b"two", b"three"):
        await cloud.put_secret("webhook", value)
    secrets = as_identity("secrets")
    assert [s.value for s in await secrets.versions("webhook")] == [b"three", b"two"]
    path = f"projects/{PROJECT}/secrets/webhook/versions"
    cloud.secrets.mark(f"{path}/2", SecretVersion.State.DESTROYED)
    assert [s.value for s in await secrets.versions("webhook")] == [b"three", b"one"]
    cloud.secrets.mark(f"{path}/3", SecretVersion.State.DISABLED)
    with pytest.raises(Forbidden) as caught:  # Google does not tell the number of a newest version that is disabled
        await secrets.get("webhook")
    assert "roles/secretmanager.viewer" in caught.value.hint
    cloud.roles.grant(DISPATCHER, "roles/secretmanager.viewer")
    assert [s.value for s in await secrets.versions("webhook")] == [b"one"]
    cloud.secrets.mark(f"{path}/1", SecretVersion.State.DESTROYED)
    assert await secrets.get("webhook") is None


async def test_forgetting_leaves_the_secret_and_who_may_read_it_to_the_deployment(cloud, as_identity):
    await cloud.put_secret("app-key", b"old")
    cloud.roles.grant(DISPATCHER, "roles/secretmanager.secretVersionManager")
    secrets = as_identity("secrets")
    await secrets.delete("app-key")
    assert await secrets.versions("app-key", 9) == ()
    assert "app-key" in cloud.secrets.kept
    assert await secrets.put("app-key", b"new") == 2
    assert [secret.value for secret in await secrets.versions("app-key", 9)] == [b"new"]
    with pytest.raises(Forbidden) as caught:
        await as_identity("secrets", RUNNER).delete("app-key")
    assert "roles/secretmanager" in caught.value.hint


async def test_a_new_version_needs_no_right_to_make_secrets(cloud, as_identity):
    await cloud.put_secret("app-key", b"old")
    cloud.roles.grant(DISPATCHER, "roles/secretmanager.secretVersionAdder")
    assert await as_identity("secrets").put("app-key", b"new") == 2
    with pytest.raises(Forbidden) as caught:
        await as_identity("secrets").put("unknown", b"x")
    assert "roles/secretmanager.admin" in caught.value.hint


# executions


@pytest.fixture
def job(cloud, tmp_path):
    """The job of size 1x2, with a program of our own as its image."""

    def add(script):
        cloud.run.jobs[f"{JOBS}/runner-1x2"] = program([sys.executable, "-c", script], tmp_path / "job.log")
        return tmp_path / "job.log"

    return add


async def ended(executions, name):
    while not (found := await executions.describe(name)).ended:  # noqa: ASYNC110 – another process ends it
        await asyncio.sleep(0.02)
    return found


async def test_an_execution_has_its_name_at_once_and_its_environment(cloud, as_identity, job):
    log = job("import os; print(os.environ['RUN_ID'], os.environ['CLOUD_RUN_EXECUTION'])")
    executions = as_identity("executions")
    name = await executions.start(SIZE, {"RUN_ID": "run-1"}, 60)
    assert name.startswith(f"{JOBS}/runner-1x2/executions/")
    assert (await ended(executions, name)).state is ExecutionState.SUCCEEDED
    assert log.read_text().split() == ["run-1", name.rpartition("/")[2]]
    assert await executions.describe(f"{name}-not") is None


async def test_a_failure_has_a_reason(as_identity, job):
    job("raise SystemExit(3)")
    executions = as_identity("executions")
    found = await ended(executions, await executions.start(SIZE, {}, 60))
    assert (found.state, found.reason) == (ExecutionState.FAILED, "Task failed with exit code 3.")


async def test_an_execution_can_be_cancelled_also_twice_and_too_late(cloud, as_identity, job):
    job("import time; time.sleep(60)")
    executions = as_identity("executions")
    name = await executions.start(SIZE, {}, 60)
    while (await executions.describe(name)).state is ExecutionState.PENDING:  # noqa: ASYNC110 – another process
        await asyncio.sleep(0.02)
    await executions.cancel(name)
    assert (await ended(executions, name)).state is ExecutionState.CANCELLED
    await executions.cancel(name)
    await executions.cancel(f"{JOBS}/runner-1x2/executions/unknown")


async def test_a_start_whose_answer_was_lost_is_not_repeated_by_itself(cloud, as_identity, job):
    job("pass")
    cloud.run.jobs_api.fail("run_job", google.ServiceUnavailable("lost"), after=True)
    with pytest.raises(Unavailable):
        await as_identity("executions").start(SIZE, {}, 60)
    assert len(cloud.run.started) == 1


async def test_a_start_over_quota_is_repeated(cloud, as_identity, job):
    job("pass")
    cloud.run.jobs_api.fail("run_job", google.ResourceExhausted("Quota exceeded for run requests per minute"))
    assert await as_identity("executions").start(SIZE, {}, 60)
    assert len(cloud.run.started) == 1


async def test_a_size_without_a_job_is_said(as_identity):
    with pytest.raises(Unavailable, match="runner-8x16"):
        await as_identity("executions").start(ResourceClass(8, 16), {}, 60)


# objects


async def test_an_upload_survives_an_outage(cloud, as_identity):
    bucket = as_identity("bucket")
    cloud.storage.fail(google.ServiceUnavailable("later"), 2)
    stored = await bucket.put("a/b", some(b"x" * 10), content_type="text/plain", max_bytes=100)
    assert await bucket.stat("a/b") == stored


async def test_a_large_object_goes_up_in_parts(as_identity):
    bucket = as_identity("bucket")
    chunk = bytes(range(256)) * 4096
    stored = await bucket.put("large", some(*[chunk] * 9), content_type="text/plain", max_bytes=10**8)
    assert (stored.size, await bucket.stat("large")) == (9 * len(chunk), stored)


async def test_a_damaged_object_is_not_passed_on_as_whole(cloud, as_identity):
    bucket = as_identity("bucket")
    await bucket.put("a", some(b"what was written"), content_type="text/plain", max_bytes=100)
    cloud.storage.buckets[BUCKET]["a"].data = b"what was damaged"
    with pytest.raises(Unavailable) as caught:
        _ = [piece async for piece in bucket.open("a")]
    assert caught.value.code == "object_corrupt"


async def test_a_reader_that_goes_away_frees_its_thread(as_identity):
    bucket = as_identity("bucket")
    await bucket.put("large", some(b"x" * 20_000_000), content_type="text/plain", max_bytes=10**8)
    reading = bucket.open("large")
    await anext(reading)
    await reading.aclose()
    assert (await bucket.stat("large")).size == 20_000_000


async def test_a_bucket_that_does_not_exist_is_not_an_absent_object(cloud, as_identity):
    bucket = as_identity("bucket")
    del cloud.storage.buckets[BUCKET]
    with pytest.raises(Unavailable) as caught:
        await bucket.stat("a")
    assert caught.value.code == "google_resource_missing"
    assert not isinstance(caught.value, NotFound)


async def test_a_bad_name_never_reaches_google(cloud, as_identity):
    with pytest.raises(Invalid):
        await as_identity("secrets").get("../other")
    assert cloud.secrets.api.calls == []
