"""The real gcloud does what docs/deploy.md says, against Google's stand-ins: commands as they stand there, but for the project."""

import asyncio
import os
import re
import shutil

import pytest
from google.cloud import tasks_v2

from tests.docs import ROOT
from tests.world.google_cloud import PROJECT, google_cloud
from tests.world.google_identity import OWNER

PAGE = (ROOT / "docs" / "deploy.md").read_text()
NO_GCLOUD = "NO GCLOUD: https://cloud.google.com/sdk/docs/install; what docs/deploy.md says is not tried"
pytestmark = [pytest.mark.full, pytest.mark.skipif(shutil.which("gcloud") is None, reason=NO_GCLOUD)]


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


@pytest.fixture
def type_in(cloud, tmp_path):
    """Runs a line of the page as a person would, in bash; returns what it printed."""
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

    async def run(start, **variables):
        lines = [line for line in PAGE.splitlines() if start in line and not line.startswith(("|", "-"))]
        assert lines, f"docs/deploy.md has no line with: {start}"
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            lines[0],
            env={**environment, **variables},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, error.decode()
        return out.decode()

    run.folder = tmp_path
    return run


async def test_secrets_are_stored_listed_read_and_taken_away(cloud, type_in):
    for name in (
        "run-token-key",
        "github-app-id",
        "github-app-private-key",
        "github-webhook-secret",
        "anthropic-api-key",
    ):
        await cloud.put_secret(name, b"before")
    (type_in.folder / "my-app.private-key.pem").write_text("a key\n")
    await type_in("versions add run-token-key")
    await type_in("versions add github-app-id")
    await type_in("versions add github-app-private-key")
    await type_in("versions add github-webhook-secret", WEBHOOK_SECRET="s3cret")
    await type_in("versions add anthropic-api-key", ANTHROPIC_API_KEY="k3y")
    assert (await type_in("versions access latest")).strip() == "123456"
    assert re.findall(r"^(\d)\s+enabled", await type_in("versions list github-webhook-secret"), re.MULTILINE) == [
        "2",
        "1",
    ]
    await type_in("versions disable 1")
    assert re.findall(r"^(\d)\s+(\w+)", await type_in("versions list github-webhook-secret"), re.MULTILINE) == [
        ("2", "enabled"),
        ("1", "disabled"),
    ]


async def test_queues_are_looked_at_stopped_and_let_go(cloud, type_in):
    cloud.add_queue("pullwright-runs")
    await type_in("tasks queues pause pullwright-runs")
    queue = cloud.tasks.named("pullwright-runs")
    assert queue.settings.state == tasks_v2.Queue.State.PAUSED
    assert "state: PAUSED" in await type_in("tasks queues describe pullwright-runs")
    await type_in("tasks list --queue pullwright-runs")
    await type_in("tasks queues resume pullwright-runs")
    assert queue.settings.state == tasks_v2.Queue.State.RUNNING
