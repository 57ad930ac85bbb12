"""A run at work is no black box: commands beside it, messages to it, a stop – by the API, on the real CLI."""

import time

import pytest

from tests.world.stack import Up


@pytest.fixture(scope="module")
def slow_up(tmp_path_factory):
    """A model that takes its time, so that there is a middle to talk in."""
    with Up(tmp_path_factory.mktemp("live"), pace="60", EXTRA_ALLOWED_COMMANDS="git --version") as running:
        yield running


def at_work(up):
    run_id = up.dispatch(prefer="respond-async").json()["run_id"]
    up.until(run_id, lambda run: run["turns"] >= 1)
    return run_id


def ask(up, run_id, kind, data=None):
    answer = up.http.post(f"/api/runs/{run_id}/commands", json={"kind": kind, "data": data or {}})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def result_of(up, run_id, command_id, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        commands = {one["id"]: one for one in up.http.get(f"/api/runs/{run_id}/commands").json()["commands"]}
        if commands[command_id]["state"] != "waiting":
            return commands[command_id]
        assert time.monotonic() < deadline, up.logs()
        time.sleep(0.05)


def events(up, run_id, kind):
    page = up.http.get(f"/api/runs/{run_id}/events?limit=500").json()["events"]
    return [event["data"] for event in page if event["type"] == kind]


def artifact(up, run_id, name):
    return up.http.get(f"/api/runs/{run_id}/artifacts/{name}").raise_for_status().text


def test_commands_messages_and_a_stop_reach_a_run_at_work(slow_up):
    up = slow_up
    run_id = at_work(up)
    status = ask(up, run_id, "command", {"command": "git status"})
    told = ask(up, run_id, "message", {"text": "Mind the rounding, please."})
    extra = ask(up, run_id, "command", {"command": "git --version"})
    assert result_of(up, run_id, status)["exit_code"] == 0
    assert "On branch claude/" in result_of(up, run_id, status)["text"]
    assert result_of(up, run_id, told)["state"] == "done"
    assert result_of(up, run_id, extra)["text"].startswith("git version")
    up.until(run_id, lambda _: any("Edit:" in data["summary"] for data in events(up, run_id, "tool_use")))
    diff = result_of(up, run_id, ask(up, run_id, "command", {"command": "git diff"}))
    assert diff["artifact"] == "latest.diff"
    assert artifact(up, run_id, "latest.diff").startswith("diff --git a/")

    started = time.monotonic()
    stop = ask(up, run_id, "stop")
    run = up.ended(run_id, 15)
    assert time.monotonic() - started < 15
    assert run["status"] == "cancelled"
    assert run["cost_usd"] > 0
    assert result_of(up, run_id, stop)["state"] == "done"
    from_people = [data["text"] for data in events(up, run_id, "message") if data.get("from")]
    assert from_people == ["Mind the rounding, please."]
    outputs = "".join(data["text"] for data in events(up, run_id, "stdout"))
    assert "On branch claude/" in outputs
    refused = up.http.post(f"/api/runs/{run_id}/commands", json={"kind": "message", "data": {"text": "Late."}})
    assert refused.status_code == 409
