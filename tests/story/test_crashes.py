"""What happens when things die, hang or are stopped half-way: no run is lost, none is done twice, nothing paid twice."""

import json
import os
import signal
import time

import httpx
import pytest

from tests.world.stack import Up


def agent_processes(up):
    return [pid for pid, line in up.children().items() if "--output-format" in line or "/_bundled/claude" in line]


@pytest.fixture
def slow_up(tmp_path):
    """A model that takes its time, so that there is a middle to interrupt."""
    with Up(tmp_path, pace="60", LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.4") as running:
        yield running


def test_cancelling_a_run_at_work_ends_it_within_15_seconds_without_a_pull_request(slow_up):
    up = slow_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda run: run["turns"] >= 1)
    started = time.monotonic()
    assert up.http.post(f"/api/runs/{run_id}/cancel").status_code == 202
    run = up.ended(run_id, 15)
    assert run["status"] == "cancelled"
    assert time.monotonic() - started < 15
    assert run["pr_url"] is None
    assert run["cost_usd"] > 0
    assert up.pulls("invoices") == []
    assert agent_processes(up) == []


def test_a_runner_killed_after_the_agent_had_finished_is_replaced_without_paying_the_agent_again(own_up):
    up = own_up
    # the forge answers late, so that the work is saved but no pull request is there yet
    stall(up, "POST", "/pulls$", delay=30)
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda run: run["phase"] == "publishing")
    saved = up.http.get(f"/api/runs/{run_id}/artifacts").json()["artifacts"]
    assert "work.bundle" in {artifact["name"] for artifact in saved}
    paid = up.run(run_id)["cost_usd"]
    assert paid > 0
    os.kill(up.runner_pid(), signal.SIGKILL)
    run = up.ended(run_id)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), up.logs()
    assert run["cost_usd"] == pytest.approx(paid)
    assert [pull["head"]["ref"] for pull in up.pulls("invoices")] == [f"claude/{run_id}"]
    events = up.http.get(f"/api/runs/{run_id}/events").json()["events"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert any("earlier attempt saved" in str(event["data"]) for event in events)


def test_what_a_killed_runner_had_spent_is_in_the_ledger_of_the_next(slow_up):
    up = slow_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda run: run["turns"] >= 2)
    os.kill(up.runner_pid(), signal.SIGKILL)
    run = up.ended(run_id, 90)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), up.logs()
    ledger = up.http.get(f"/api/runs/{run_id}/artifacts/ledger.jsonl").text
    lines = [json.loads(line) for line in ledger.splitlines()]
    assert [line["counted"] for line in lines].count("lost") == 1
    assert sum(line["cost_micros"] for line in lines) == round(run["cost_usd"] * 1_000_000)


def test_a_dispatcher_killed_in_the_middle_comes_back_and_the_run_ends_well(own_up):
    up = own_up
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda run: run["phase"] == "working")
    for pid, line in up.children().items():
        if "functions_framework" in line:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if up.run(run_id)["finished_at"]:
                break
        except Exception:  # noqa: BLE001 – it is down; that is the point
            pass
        time.sleep(0.1)
    run = up.run(run_id)
    assert run["status"] == "succeeded", up.logs()
    assert len(up.pulls("invoices")) == 1
    events = up.http.get(f"/api/runs/{run_id}/events").json()["events"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


def test_a_pull_request_whose_answer_was_lost_is_adopted(own_up):
    up = own_up
    stall(up, "POST", "/pulls$", drop="after")
    run = up.dispatch().json()
    assert run["status"] == "succeeded", up.logs()
    assert [pull["html_url"] for pull in up.pulls("invoices")] == [run["pr_url"]]


def stall(up, method, path, **fault):
    """The next such request to the local forge fares as told, by the forge's own admin address."""
    token = (up.data / "forge" / "admin-token").read_text().strip()
    answer = httpx.post(
        f"{up.forge}/_forge/faults",
        json={"method": method, "path": path, **fault},
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert answer.is_success, answer.text
