"""``doctor --cloud`` on a project as Google would show it: all well, and each thing that can be wrong."""

import asyncio
import copy
import json
import os
import shutil
import subprocess

import pytest
from rich.console import Console as Terminal

from infra.core.diagnosis import Verdict
from infra.gcp.checkup import Checkup
from infra.gcp.console import APIS, Console
from infra.gcp.doctor import NEEDED_APIS, examine
from infra.local.findings import show
from infra.records.indexes import COMPOSITE, EXPIRING
from tests.world.google_cloud import BUCKET, DISPATCHER, INVOKER, PROJECT, REGION, RUNNER, google_cloud
from tests.world.google_identity import OWNER

PLACE = f"projects/{PROJECT}/locations/{REGION}"
ACCOUNT = f"v1/projects/{PROJECT}/serviceAccounts/{INVOKER}"
DATABASE = f"/v1/projects/{PROJECT}/databases/pullwright"
DISPATCHER_SERVICE = f"/v2/{PLACE}/services/pullwright-dispatcher"
RUNNER_SERVICE = f"/v2/{PLACE}/services/claude-code-runner"
RUNNER_URL = "https://claude-code-runner-1.us-central1.run.app"
SECRETS = ("run-token-key", "github-webhook-secret", "github-app-private-key")


def policy(role, *members):
    return {"bindings": [{"role": role, "members": [f"serviceAccount:{member}" for member in members]}]}


def service(url, account, environment, **more):
    template = {
        "serviceAccount": account,
        "maxInstanceRequestConcurrency": 1,
        "containers": [{"env": [{"name": name, "value": value} for name, value in environment.items()]}],
    }
    done = {"state": "CONDITION_SUCCEEDED"}
    return {"uri": url, "urls": [url], "template": template, "terminalCondition": done, **more}


def healthy(url):
    """A project after ``terraform apply``, as Google's REST APIs describe it."""
    dispatcher = {
        "PLATFORM": "google",
        "PUBLIC_URL": url,
        "CLAUDE_CLOUD_RUN_URL": RUNNER_URL,
        "INVOKER_SERVICE_ACCOUNT": INVOKER,
        "ARTIFACT_BUCKET": BUCKET,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "FIRESTORE_DATABASE": "pullwright",
        "GITHUB_APP_ID": "1",
    }
    enabled = [{"config": {"name": f"{name}.googleapis.com"}, "state": "ENABLED"} for name in NEEDED_APIS]
    resources = {
        f"/v1/projects/{PROJECT}/services:batchGet": {"services": enabled},
        f"/v1/projects/{PROJECT}:getIamPolicy": policy("roles/datastore.user", DISPATCHER),
        DISPATCHER_SERVICE: service(url, DISPATCHER, dispatcher, invokerIamDisabled=True),
        "/health": {"status": "ok"},
        RUNNER_SERVICE: service(RUNNER_URL, RUNNER, {"RUNNER_AUDIENCE": RUNNER_URL}),
        f"{RUNNER_SERVICE}:getIamPolicy": policy("roles/run.invoker", INVOKER),
        **{
            f"/v2/{PLACE}/jobs/claude-code-runner-{size}": {"template": {"template": {"maxRetries": 0}}}
            for size in ("1x2", "2x4", "4x8", "8x16")
        },
        f"/{ACCOUNT}:getIamPolicy": policy("roles/iam.serviceAccountUser", DISPATCHER),
        DATABASE: {"name": "pullwright"},
        **{
            f"{DATABASE}/collectionGroups/{collection}/indexes": {"indexes": [{"state": "READY"}]}
            for collection, _ in COMPOSITE
        },
        **{
            f"{DATABASE}/collectionGroups/{collection}/fields/expire_at": {"ttlConfig": {"state": "ACTIVE"}}
            for collection in EXPIRING
        },
    }
    for queue in ("runs", "internal"):
        resources[f"/v2/{PLACE}/queues/{queue}"] = {"state": "RUNNING"}
        resources[f"/v2/{PLACE}/queues/{queue}:getIamPolicy"] = policy("roles/cloudtasks.enqueuer", DISPATCHER)
    for secret in SECRETS:
        path = f"/v1/projects/{PROJECT}/secrets/{secret}"
        resources[f"{path}/versions"] = {"versions": [{"state": "ENABLED"}]}
        resources[f"{path}:getIamPolicy"] = policy("roles/secretmanager.secretAccessor", DISPATCHER)
    return resources


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        running.resources = copy.deepcopy(healthy(running.http_url))
        yield running


@pytest.fixture
def look(cloud):
    async def examined(**more):
        async def token():
            return cloud.identities.access_token(OWNER)

        async with Console(token, apis=dict.fromkeys(APIS, cloud.http_url)) as console:
            return await examine(Checkup(console, PROJECT, REGION, **more))

    return examined


async def test_a_project_as_terraform_leaves_it_is_fine(look):
    findings = await look()
    assert [finding for finding in findings if finding.verdict is Verdict.WRONG] == []
    assert [finding.topic for finding in findings if finding.verdict is Verdict.UNKNOWN] == ["egress"]
    topics = {finding.topic for finding in findings}
    assert {"APIs", "clock", "health", "tokens of tasks", "audience of the runner", "runner's identity"} <= topics


def env(resources, path, **changes):
    items = resources[path]["template"]["containers"][0]["env"]
    for item in items:
        item["value"] = changes.pop(item["name"], item["value"])
    items += [{"name": name, "value": value} for name, value in changes.items()]


TROUBLES = {
    "an API is off": (
        lambda r: r[f"/v1/projects/{PROJECT}/services:batchGet"]["services"].pop(1),
        "APIs",
        "gcloud services enable cloudtasks.googleapis.com",
    ),
    "no dispatcher": (lambda r: r.update({DISPATCHER_SERVICE: 404}), "dispatcher", "terraform -chdir=terraform apply"),
    "a deployment failed": (
        lambda r: r[RUNNER_SERVICE].update(terminalCondition={"state": "CONDITION_FAILED", "message": "no image"}),
        "runner service",
        "gcloud run services logs read claude-code-runner",
    ),
    "a setting is missing": (
        lambda r: env(r, DISPATCHER_SERVICE, PLATFORM="local"),
        "settings",
        "terraform -chdir=terraform apply",
    ),
    "webhooks are turned away": (
        lambda r: (
            r[DISPATCHER_SERVICE].update(invokerIamDisabled=False)
            or r.update({f"{DISPATCHER_SERVICE}:getIamPolicy": {}})
        ),
        "invoker of the dispatcher",
        "--no-invoker-iam-check",
    ),
    "the dispatcher does not answer": (
        lambda r: r.update({"/health": 500}),
        "health",
        "gcloud run services logs read pullwright-dispatcher",
    ),
    "the runner is public": (
        lambda r: r[RUNNER_SERVICE].update(invokerIamDisabled=True),
        "invoker of the runner",
        "--invoker-iam-check",
    ),
    "the runner is public by a binding": (
        lambda r: r[f"{RUNNER_SERVICE}:getIamPolicy"]["bindings"][0]["members"].append("allUsers"),
        "invoker of the runner",
        "remove-iam-policy-binding claude-code-runner --region us-central1 --member allUsers",
    ),
    "the queue may not call the runner": (
        lambda r: r.update({f"{RUNNER_SERVICE}:getIamPolicy": {}}),
        "invoker of the runner",
        f"add-iam-policy-binding claude-code-runner --region us-central1 --member serviceAccount:{INVOKER}",
    ),
    "two runs in one instance": (
        lambda r: r[RUNNER_SERVICE]["template"].update(maxInstanceRequestConcurrency=80),
        "runner service",
        "--concurrency 1",
    ),
    "tokens for another audience": (
        lambda r: env(r, RUNNER_SERVICE, RUNNER_AUDIENCE="https://other.example"),
        "audience of the runner",
        "terraform -chdir=terraform apply",
    ),
    "a runner with power": (
        lambda r: r[f"/v1/projects/{PROJECT}:getIamPolicy"]["bindings"].append(
            {"role": "roles/editor", "members": [f"serviceAccount:{RUNNER}"]}
        ),
        "runner's identity",
        f"projects remove-iam-policy-binding {PROJECT} --member serviceAccount:{RUNNER} --role roles/editor",
    ),
    "no job": (
        lambda r: r.update({f"/v2/{PLACE}/jobs/claude-code-runner-2x4": 404}),
        "job claude-code-runner-2x4",
        "run jobs list",
    ),
    "a job that repeats": (
        lambda r: r[f"/v2/{PLACE}/jobs/claude-code-runner-2x4"]["template"]["template"].update(maxRetries=3),
        "job claude-code-runner-2x4",
        "--max-retries 0",
    ),
    "no queue": (lambda r: r.update({f"/v2/{PLACE}/queues/runs": 404}), "queue runs", "terraform"),
    "a paused queue": (
        lambda r: r[f"/v2/{PLACE}/queues/internal"].update(state="PAUSED"),
        "queue internal",
        "gcloud tasks queues resume internal --location us-central1",
    ),
    "no right to the queue": (
        lambda r: r.update({f"/v2/{PLACE}/queues/runs:getIamPolicy": {}}),
        "queue runs",
        "--role roles/cloudtasks.enqueuer",
    ),
    "no right to act as the invoker": (
        lambda r: r.update({f"/{ACCOUNT}:getIamPolicy": {}}),
        "tokens of tasks",
        f"gcloud iam service-accounts add-iam-policy-binding {INVOKER}",
    ),
    "no secret": (
        lambda r: r.update({f"/v1/projects/{PROJECT}/secrets/run-token-key/versions": 404}),
        "secret run-token-key",
        "gcloud secrets create run-token-key",
    ),
    "an empty secret": (
        lambda r: r.update({f"/v1/projects/{PROJECT}/secrets/github-webhook-secret/versions": {}}),
        "secret github-webhook-secret",
        "gcloud secrets versions add github-webhook-secret --data-file=-",
    ),
    "a secret that cannot be read": (
        lambda r: r.update({f"/v1/projects/{PROJECT}/secrets/run-token-key:getIamPolicy": {}}),
        "secret run-token-key",
        "--role roles/secretmanager.secretAccessor",
    ),
    "no database": (lambda r: r.update({DATABASE: 404}), "database", "gcloud firestore databases create"),
    "an index being built": (
        lambda r: r[f"{DATABASE}/collectionGroups/runs/indexes"]["indexes"][0].update(state="CREATING"),
        "index of runs",
        "gcloud firestore indexes composite list",
    ),
    "nothing expires": (
        lambda r: r.update({f"{DATABASE}/collectionGroups/nonces/fields/expire_at": {}}),
        "expiry of nonces",
        "gcloud firestore fields ttls update expire_at --collection-group nonces",
    ),
}


@pytest.mark.parametrize(("harm", "topic", "command"), TROUBLES.values(), ids=TROUBLES)
async def test_what_is_wrong_is_said_with_what_to_type(cloud, look, harm, topic, command):
    harm(cloud.resources)
    findings = await look()
    bad = [finding for finding in findings if finding.verdict is Verdict.WRONG]
    assert {finding.topic for finding in bad} == {topic}
    assert any(command in typed for finding in bad for typed in finding.commands), bad


async def test_a_bucket_that_is_missing_or_could_be_made_public(cloud, look):
    cloud.storage.bucket_settings = {}
    assert "--public-access-prevention" in next(f for f in await look() if f.topic == "bucket").commands[0]
    del cloud.storage.buckets[BUCKET]
    assert "gcloud storage buckets create" in next(f for f in await look() if f.topic == "bucket").commands[0]


async def test_a_clock_that_is_off_is_told(look):
    (finding,) = (f for f in await look(clock=lambda: 1_000_000_000.0) if f.topic == "clock")
    assert finding.verdict is Verdict.WRONG


async def test_what_may_not_be_seen_is_neither_fine_nor_wrong(cloud, look):
    for path in cloud.resources:
        if path != DISPATCHER_SERVICE:
            cloud.resources[path] = 403
    findings = [finding for finding in await look() if "may not look" in finding.message]
    assert len(findings) > 8
    assert all(finding.verdict is Verdict.UNKNOWN and "--role roles/" in finding.commands[0] for finding in findings)


async def test_the_terminal_shows_commands_as_they_are_to_be_typed(cloud, look, capsys):
    cloud.resources[f"/v2/{PLACE}/queues/internal"]["state"] = "PAUSED"
    status = show(Terminal(highlight=False, soft_wrap=True), await look())
    said = capsys.readouterr().out
    assert status == 1
    assert f"        gcloud tasks queues resume internal --location us-central1 --project {PROJECT}\n" in said
    assert "1 wrong" in said


NO_GCLOUD = "" if shutil.which("gcloud") else "NO GCLOUD: the doctor's commands stay unchecked"


@pytest.mark.full
@pytest.mark.skipif(bool(NO_GCLOUD), reason=NO_GCLOUD)
async def test_gcloud_knows_every_command(cloud, look, tmp_path):
    """All commands of all troubles at once, given to gcloud's own offline linter."""
    commands = set()
    for harm, _, _ in TROUBLES.values():
        cloud.resources = copy.deepcopy(healthy(cloud.http_url))
        harm(cloud.resources)
        commands.update(typed for f in await look() for typed in f.commands if typed.startswith("gcloud "))
    given = tmp_path / "commands.json"
    given.write_text(
        json.dumps([{"command_string": command.replace("$(", "").replace(")", "")} for command in sorted(commands)])
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }
    argv = ["gcloud", "meta", "lint-gcloud-commands", "--commands-file", str(given)]
    done = await asyncio.to_thread(
        subprocess.run, argv, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    wrong = [(one["command_string"], one["error_message"]) for one in json.loads(done.stdout) if not one["success"]]
    assert wrong == []
