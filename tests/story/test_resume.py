"""An agent whose machine goes away goes on where it was: same conversation, same files, on another machine."""

import os
import re
import signal
import time

import pytest

from tests.world.stack import Up


@pytest.fixture
def slow_up(tmp_path):
    with Up(tmp_path, pace="60", LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.4", CHECKPOINT_SECONDS="0") as running:
        yield running


def events(up, run_id):
    return up.http.get(f"/api/runs/{run_id}/events?limit=500").json()["events"]


def said(up, run_id, kind):
    return [event["data"] for event in events(up, run_id) if event["type"] == kind]


def edited(up, run_id):
    """The agent has made the first of its edits and has said so."""
    uses = [data["id"] for data in said(up, run_id, "tool_use") if data["name"] == "Edit"]
    results = [data["id"] for data in said(up, run_id, "tool_result")]
    return uses and uses[0] in results


def went_on(up, run_id):
    run = up.ended(run_id)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), up.logs()
    codes = [data.get("code") for data in said(up, run_id, "info")]
    assert "resumed" in codes, codes
    # nothing was done twice: each step of the script was taken once
    summaries = [data["summary"] for data in said(up, run_id, "tool_use")]
    edits = [text for text in summaries if text.startswith("Edit: invoices/")]
    assert len(edits) == 1, summaries
    assert len(up.pulls("invoices")) == 1
    numbers = [event["sequence"] for event in events(up, run_id)]
    assert numbers == list(range(1, len(numbers) + 1))
    return codes


def kept(up):
    """What is in the bucket, and since when."""
    return {path: path.stat().st_mtime_ns for path in (up.data / "artifacts").rglob("*") if path.is_file()}


def test_a_runner_that_is_told_to_stop_hands_its_run_back_and_the_agent_goes_on(slow_up):
    up = slow_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda _: edited(up, run_id))
    paid = up.run(run_id)["cost_usd"]
    started = time.monotonic()
    os.kill(up.runner_pid(), signal.SIGTERM)
    up.until(run_id, lambda run: run["attempt"] == 2 or run["status"] in {"queued", "provisioning"}, 10)
    assert time.monotonic() - started < 10
    codes = went_on(up, run_id)
    assert "released" in codes
    assert up.run(run_id)["cost_usd"] > paid


def test_a_runner_that_is_killed_is_followed_by_one_that_resumes(slow_up):
    up = slow_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda _: edited(up, run_id))
    before = kept(up)
    up.until(run_id, lambda _: kept(up) != before)
    os.kill(up.runner_pid(), signal.SIGKILL)
    run = up.ended(run_id)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), up.logs()
    assert "resumed" in [data.get("code") for data in said(up, run_id, "info")]
    assert len(up.pulls("invoices")) == 1


def test_what_a_stopped_agent_had_done_is_kept_for_people(slow_up):
    up = slow_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda _: edited(up, run_id))
    up.http.post(f"/api/runs/{run_id}/cancel").raise_for_status()
    run = up.ended(run_id, 15)
    assert run["status"] == "cancelled"
    assert run["cost_usd"] > 0
    diff = up.http.get(f"/api/runs/{run_id}/artifacts/partial.diff").raise_for_status().text
    assert re.search(r"^\+.*divmod", diff, re.MULTILINE)
    bundle = up.http.get(f"/api/runs/{run_id}/artifacts/partial.bundle").raise_for_status().content
    assert bundle.startswith(b"# v2 git bundle")
    assert up.pulls("invoices") == []


def test_a_follow_up_goes_on_from_the_last_word_of_the_conversation(up):
    first = up.dispatch().json()
    answer = up.http.post(f"/api/runs/{first['run_id']}/continue", json={"task": "Now say what you did."})
    assert answer.is_success, answer.text
    run = up.ended(answer.json()["id"])
    assert run["status"] in {"succeeded", "no_changes"}, up.logs()
    assert "resumed" in [data.get("code") for data in said(up, run["id"], "info")]
    assert said(up, run["id"], "usage")[-1]["input_tokens"] > 20_000  # the whole conversation before it was heard again
