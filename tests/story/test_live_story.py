"""The whole story: a person's own runner against a running installation, followed and steered from elsewhere by curl."""

import re
import subprocess
import sys
import time

import pytest

from tests.world.stack import Up, program_environment

CLAUDE = [sys.executable, "-c", "from runner.cli import main; main()"]


@pytest.fixture
def slow_up(tmp_path):
    with Up(tmp_path, pace="60") as running:
        yield running


def ask(up, run_id, kind, **data):
    answer = up.http.post(f"/api/runs/{run_id}/commands", json={"kind": kind, "data": data})
    assert answer.status_code == 202, answer.text


def wait_for(said, pattern, seconds=60):
    deadline = time.monotonic() + seconds
    while not re.search(pattern, said.read_text(), re.MULTILINE):
        assert time.monotonic() < deadline, said.read_text()[-3000:]
        time.sleep(0.05)


def test_a_person_starts_follows_asks_tells_and_stops_a_run_and_finds_what_it_left(slow_up, tmp_path):
    up = slow_up
    task = "Instalments do not add up to the invoice total"
    body = {"owner": "rehearsal", "repo": "invoices", "task": task, "executor": "attach"}
    made = up.http.post("/api/runs", json=body)
    assert made.is_success, made.text
    run_id, token = made.json()["id"], made.json()["token"]
    assert up.run(run_id)["status"] == "queued"

    laptop, curl = tmp_path / "laptop", tmp_path / "curl.txt"
    laptop.mkdir()
    (laptop / ".env").write_text(f"GATEWAY_URL={up.url}\n")
    argv = [*CLAUDE, "start", "--run-id", run_id, "--token", token]
    with (laptop / "said").open("wb") as said, curl.open("wb") as followed:
        environment = program_environment(WORK_DIR=str(laptop / "work"))
        runner = subprocess.Popen(argv, cwd=laptop, env=environment, stdout=said, stderr=said)
        follower = subprocess.Popen(
            [
                *("curl", "-sN", "-H", f"Authorization: Bearer {up.key}", "-H", "Accept: text/event-stream"),
                f"{up.url}/api/runs/{run_id}/events",
            ],
            stdout=followed,
            stderr=followed,
        )
        try:
            wait_for(curl, r'"summary": ?"Edit: ')
            ask(up, run_id, "command", command="git diff")
            ask(up, run_id, "message", text="Mind the cents, please.")
            wait_for(curl, r"\+.*divmod")
            wait_for(curl, r"Mind the cents, please\.")
            wait_for(curl, r'"command": ?"git diff"')
            ask(up, run_id, "stop")
            assert runner.wait(20) == 130
            assert follower.wait(20) == 0
        finally:
            for process in (runner, follower):
                process.kill()
                process.wait()

    run = up.run(run_id)
    assert run["status"] == "cancelled"
    assert run["cost_usd"] > 0
    assert "git diff" in (laptop / ".data" / "runs" / run_id / "claude.log").read_text()
    kept = {one["name"] for one in up.http.get(f"/api/runs/{run_id}/artifacts").json()["artifacts"]}
    assert {"claude.log", "latest.diff", "partial.diff", "partial.bundle"} <= kept
    assert "⚒ Bash:" in (laptop / "said").read_text()
    assert up.pulls("invoices") == []
