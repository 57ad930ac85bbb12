"""The main job as people see it: dispatch, webhook, crash, cancel – on real git, the real CLI and real processes."""

import base64
import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import httpx_sse
import pytest

from tests.world.stack import BIN, program_environment

SLOW_TASK = "Wait here please"


def test_a_dispatch_call_answers_with_a_pull_request_that_opens_in_a_browser(up):
    answer = up.dispatch()
    assert answer.status_code == 200, up.logs()
    result = answer.json()
    assert (result["status"], result["success"], result["error"]) == ("succeeded", True, None)
    assert result["turns"] > 0
    assert result["tokens"]["output"] > 0
    assert result["cost_usd"] > 0
    assert 0 < result["duration_seconds"] < 60

    page = httpx.get(result["pr_url"], trust_env=False)
    assert page.status_code == 200
    assert "divmod" in page.text

    run = up.run(result["run_id"])
    assert run["changes"]["files"] == 2
    pull = up.on_forge("GET", f"/repos/rehearsal/invoices/pulls/{result['pr_url'].rsplit('/', 1)[1]}")
    assert pull["head"]["ref"] == f"claude/{run['id']}"
    assert pull["base"]["ref"] == "main"
    assert pull["user"]["type"] == "Bot"
    assert f"<!-- pullwright:run={run['id']} -->" in pull["body"]
    assert "scripted" in pull["body"]
    fixed = up.on_forge("GET", f"/repos/rehearsal/invoices/contents/invoices/instalments.py?ref={pull['head']['ref']}")
    assert b"divmod" in base64.b64decode(fixed["content"])


def test_the_answer_can_be_had_at_once_and_followed_event_by_event(up):
    answer = up.dispatch("slugs", "Slugs lose the letters with accents", prefer="respond-async")
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    started = answer.json()
    assert started["status"] == "queued"
    seen = list(follow(up, started["run_id"]))
    assert seen[-1].event == "end"
    numbers = [int(event.id) for event in seen[:-1]]
    assert numbers == list(range(1, len(numbers) + 1))
    kinds = {event.event for event in seen}
    assert {"phase", "message", "tool_use", "tool_result", "marker"} <= kinds

    resumed = [int(event.id) for event in follow(up, started["run_id"], after=5)][:-1]
    assert resumed == numbers[5:]
    page = up.http.get(f"/api/runs/{started['run_id']}/events?after=2&limit=3").json()
    assert [event["sequence"] for event in page["events"]] == [3, 4, 5]
    assert page["after"] == 5


def follow(up, run_id, after=0):
    headers = {"last-event-id": str(after), "accept": "text/event-stream"}
    with httpx_sse.connect_sse(up.http, "GET", f"/api/runs/{run_id}/events", headers=headers) as source:
        yield from source.iter_sse()


def test_an_issue_with_the_label_ends_in_one_pull_request_that_refers_to_it(up):
    opened = {
        "title": "Rotation deletes the newest backup",
        "body": "The oldest should go first.",
        "labels": ["claude"],
    }
    issue = up.on_forge("POST", "/repos/rehearsal/backup-rotation/issues", opened)
    deadline = time.monotonic() + 60
    while not (runs := runs_for(up, issue["number"])) or not runs[0]["finished_at"]:
        assert time.monotonic() < deadline, up.logs()
        time.sleep(0.05)
    # GitHub tells of such an issue twice, as opened and as labeled
    assert len(runs) == 1
    assert runs[0]["status"] == "succeeded", runs[0]
    pulls = up.pulls("backup-rotation")
    assert [pull["html_url"] for pull in pulls] == [runs[0]["pr_url"]]
    assert f"Closes #{issue['number']}" in pulls[0]["body"]


def runs_for(up, issue):
    return [run for run in up.http.get("/api/runs").json()["runs"] if run["trigger"]["issue"] == issue]


def test_any_task_at_all_gets_an_honest_answer_from_the_rehearsal(up):
    result = up.dispatch("slugs", "Anything that no script knows").json()
    assert result["status"] == "succeeded"
    assert result["pr_url"]


def test_the_same_idempotency_key_starts_one_run(up):
    def call(context):
        return up.http.post(
            "/api/workflows/dispatch",
            json={
                "owner": "rehearsal",
                "repo": "invoices",
                "workflowId": "claude.yml",
                "inputs": {"action_type": "create-pr", "context": context},
            },
            headers={"prefer": "respond-async", "idempotency-key": "one-and-only"},
        )

    first, second = call("Write a note"), call("Write a note")
    assert first.json()["run_id"] == second.json()["run_id"]
    assert call("Write another note").status_code == 409
    assert up.ended(first.json()["run_id"])["status"] == "succeeded"


def test_a_runner_killed_in_the_middle_is_replaced_and_one_pull_request_comes_of_it(own_up):
    up = own_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda run: run["phase"] == "working" and run["attempt"] == 1)
    os.kill(up.runner_pid(), signal.SIGKILL)
    run = up.ended(run_id)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), up.logs()
    assert [pull["head"]["ref"] for pull in up.pulls("invoices")] == [f"claude/{run_id}"]
    assert not [line for line in up.children().values() if "claude" in line and "--output-format" in line]


def test_stopping_leaves_no_process_behind_and_a_second_start_goes_on_where_it_was(tmp_path):
    from tests.world.stack import Up

    with Up(tmp_path) as up:
        first = up.dispatch().json()
        before = set(up.children())
        key = up.key
        assert up.stop(signal.SIGINT) == 130
        assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
    with Up(tmp_path) as again:
        assert "was shown at the first start" in again.said().rsplit("dispatcher", 1)[1]
        again.http.headers["authorization"] = f"Bearer {key}"
        assert again.run(first["run_id"])["pr_url"] == first["pr_url"]
        assert len(again.pulls("invoices")) == 1


@pytest.mark.parametrize("copies", [2])
def test_the_demo_prints_a_pull_request_and_exits_with_zero_twice_at_once(tmp_path, copies):
    started = []
    for number in range(copies):
        folder = tmp_path / str(number)
        folder.mkdir()
        started.append(
            subprocess.Popen(
                [BIN / "pullwright", "demo"],
                cwd=folder,
                env=program_environment(REHEARSAL_PACE_MS="0"),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for process in started:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert "/rehearsal/invoices/pull/1" in said
        assert "answers 200" in said
        assert "scripted" in said
