"""The stand-ins as gcloud sees them: a client that we did not write, and the one that operators use."""

import asyncio
import os
import shutil

import pytest

from infra.gcp.secrets import SecretManagerSecrets
from tests.world.google_cloud import PROJECT, REGION, google_cloud
from tests.world.google_identity import OWNER
from tests.world.receiver import receiving

MISSING = "" if shutil.which("gcloud") else "NO GCLOUD: https://cloud.google.com/sdk/docs/install"
pytestmark = [pytest.mark.full, pytest.mark.skipif(bool(MISSING), reason=MISSING)]  # each command takes a second


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


@pytest.fixture
def gcloud(cloud, tmp_path):
    """Runs a command against the stand-ins in the owner's name; its output."""
    token = tmp_path / "token"
    token.write_text(cloud.identities.access_token(OWNER))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS": f"{cloud.http_url}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{cloud.http_url}/",
    }

    async def run(command, given=b""):
        process = await asyncio.create_subprocess_exec(
            "gcloud",
            *command.split(),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await asyncio.wait_for(process.communicate(given), 90)
        assert process.returncode == 0, error.decode()
        return out.decode()

    return run


async def test_a_secret_stored_with_gcloud_is_what_the_dispatcher_reads(cloud, gcloud):
    await gcloud("secrets create run-token-key --replication-policy automatic")
    await gcloud("secrets versions add run-token-key --data-file=-", b"a key")
    assert await gcloud("secrets versions access latest --secret run-token-key") == "a key"
    secrets = SecretManagerSecrets(project=PROJECT, endpoint=cloud.grpc_endpoint, credentials=cloud.credentials())
    assert (await secrets.get("run-token-key")).text == "a key"
    await secrets.close()


async def test_a_task_made_with_gcloud_is_delivered_once_its_queue_goes_on(cloud, gcloud):
    cloud.add_queue("runs")
    async with receiving() as receiver:
        await gcloud(f"tasks queues pause runs --location {REGION}")
        await gcloud(
            f"tasks create-http-task by-hand --queue runs --location {REGION} --url {receiver.url}/work --body-content {{}}"
        )
        assert "by-hand" in await gcloud(f"tasks list --queue runs --location {REGION}")
        assert receiver.requests == []
        await gcloud(f"tasks queues resume runs --location {REGION}")
        (request,) = await receiver.until_count("/work", 1)
    assert request.headers["x-cloudtasks-taskname"] == "by-hand"
