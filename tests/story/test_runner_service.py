"""The runner service as an operator meets it: what it is, how it is, and what it refuses."""

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.world.stack import BIN, Up, program_environment


@pytest.fixture
def runner(up):
    with httpx.Client(base_url=up.runner, trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize("path", ["/health", "/container/health"])
def test_health_has_memory_cpu_uptime_and_version(runner, path):
    health = runner.get(path).raise_for_status().json()
    assert health["status"] == "ok"
    assert 10 < health["memory_mib"] < 500
    assert health["cpu_seconds"] > 0
    assert health["uptime_seconds"] > 0
    assert health["version"]
    assert health["container_id"]


def test_status_says_what_it_does_and_which_walls_stand(runner):
    status = runner.get("/status").raise_for_status().json()
    assert status["active"] == []
    assert status["capacity"] >= 1
    assert status["sandbox"]
    assert runner.get("/").json()["name"] == "claude-code-runner"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"run_id": 1}', b'{"run_id": "x", "token": "y", "gateway_url": "z", "more": 1}']
)
def test_a_body_that_is_no_task_is_refused(runner, body):
    answer = runner.post("/process-issue", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_body"
    assert runner.post("/process-issue", content=b"x" * 70_000).status_code == 413


def test_a_task_with_a_forged_token_does_nothing(up, runner):
    job = {"run_id": "run-" + "0" * 26, "token": "forged", "gateway_url": up.url}
    # 200, so that the queue does not send it again: nothing would change
    ending = runner.post("/process-issue", json=job).raise_for_status().json()
    assert (ending["state"], ending["message"]) == (None, "The run token is not valid.")
    assert runner.get("/status").json()["active"] == []


def demo(tmp_path, **settings):
    return subprocess.Popen(
        [BIN / "pullwright", "demo"],
        cwd=tmp_path,
        env=program_environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_demo_that_fails_says_why_and_does_not_exit_with_zero(tmp_path):
    process = demo(tmp_path, REHEARSAL_PACE_MS="0", RUN_BUDGET_USD="0.001")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "The run ended as failed" in said
    assert "budget" in said


def test_settings_that_contradict_each_other_are_refused_before_anything_starts(tmp_path):
    process = demo(tmp_path, ALLOWED_MODELS="claude-haiku-5-5")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "is not allowed here" in said
    assert "ALLOWED_MODELS" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_folder(tmp_path, number):
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = demo(tmp_path, REHEARSAL_PACE_MS="80", TMPDIR=str(folder))
    seen = ""
    while "agent at work" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    below = {pid for pid, line in Up.below(process.pid).items()}
    assert len(below) >= 5
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    deadline = time.monotonic() + 10
    while alive := [pid for pid in below if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert list(folder.glob("pullwright-demo-*")) == []
    assert os.getpid() not in below


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("GITHUB_APP_IDD=1", "Did you mean GITHUB_APP_ID?"),
        ("RUN_BUDGET_USD=five dollars", "RUN_BUDGET_USD"),
        ("DISPATCH_WAIT_SECONDS=-1", "DISPATCH_WAIT_SECONDS"),
    ],
)
def test_a_settings_file_with_a_mistake_is_refused_with_the_name(tmp_path, line, words):
    (tmp_path / ".env").write_text(line + "\n")
    done = subprocess.run(
        [BIN / "pullwright", "demo"],
        cwd=tmp_path,
        env=program_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
