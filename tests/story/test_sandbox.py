"""The walls in the whole product: said at the start, and around the agent of a real run."""

import asyncio
import subprocess

import pytest

from tests.runner.boxes import needs_boxes
from tests.world import model
from tests.world.stack import BIN, Up, program_environment


@needs_boxes
def test_the_demo_says_which_walls_are_up_and_runs_inside_them(tmp_path):
    done = subprocess.run(
        [BIN / "pullwright", "demo"],
        cwd=tmp_path,
        env=program_environment(REHEARSAL_PACE_MS="0", RUNNER_SANDBOX="require"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.strip().startswith("sandbox "))
    assert "bubblewrap; walls up:" in line
    assert "network" in line
    assert "MISSING" not in line
    assert "Sandbox bubblewrap:" in done.stdout
    assert "Pull request" in done.stdout


def test_without_a_sandbox_the_start_says_what_is_missing(tmp_path):
    with Up(tmp_path, RUNNER_SANDBOX="off") as up:
        (line,) = (line for line in up.said().splitlines() if line.strip().startswith("sandbox "))
    assert "none; walls up: environment" in line
    assert "MISSING: files, processes, network" in line or "MISSING: user" in line
    assert "RUNNER_SANDBOX=off" in line


def test_required_walls_that_are_missing_refuse_the_start(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "git").symlink_to("/usr/bin/git")
    done = subprocess.run(
        [BIN / "python", "-m", "runner.service"],
        cwd=tmp_path,
        env=program_environment()
        | {"PATH": str(empty), "RUNNER_SANDBOX": "require", "PORT": "0", "WORK_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "No agent is started on this machine" in done.stderr
    assert "apt-get install bubblewrap" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("entry", ["https://example.org", "*", "127.0.0.1"])
def test_a_broken_allow_list_is_refused_at_the_start(tmp_path, entry):
    done = subprocess.run(
        [BIN / "pullwright", "up", "--data", tmp_path / "data", "--port", "0"],
        cwd=tmp_path,
        env=program_environment(ALLOWED_DOMAINS=f"python, {entry}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    told = " ".join((done.stdout + done.stderr).split())
    assert f"The allowed domain '{entry}' does not fit" in told
    assert "*.example.org" in told
    assert "Traceback" not in told


SCRIPT = """
about = "Tries to reach a host that is not allowed, then leaves a note."
match = "Reach out"

[[turns]]
text = "I ask around."
tools = [{ name = "Bash", input = { command = "env | grep -i _proxy; python3 -c 'import urllib.request as r; r.urlopen(\\"https://evil.example.com/\\", timeout=5)' 2>&1 | tail -1; echo note > note.txt" } }]

[[turns]]
text = "Nothing was there."
"""


@needs_boxes
async def test_with_an_allow_list_the_agent_has_a_proxy_and_what_it_blocks_is_shown(tmp_path):
    def story(model_url):
        settings = {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": model.KEY, "RUNNER_SANDBOX": "require"}
        with Up(tmp_path, ALLOWED_DOMAINS="example.org", **settings) as up:
            run = up.dispatch(context="Reach out").json()
            assert run["status"] == "succeeded", run
            return up.http.get(f"/api/runs/{run['run_id']}/events", headers={"accept": "application/json"}).text

    async with model.scripted_model(model.scripts(outlet=SCRIPT)) as serving:
        events = await asyncio.to_thread(story, serving.url)
    assert "blocked: evil.example.com – add it to allowedDomains to permit" in events
    assert "HTTPS_PROXY=http://127.0.0.1:" in events
    assert "403" in events
