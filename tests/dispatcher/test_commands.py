"""What people ask of a live run: kept in order, checked word for word, handed to its runner at once, answered once."""

import asyncio
import logging

import pytest

from infra.core.access import Permission
from infra.core.clock import MINUTE
from tests.runner.waiting import until


def code(answer):
    return answer.json()["error"]["code"]


@pytest.fixture
async def runner(plane):
    await plane.new_run()
    runner = plane.runner()
    await runner.claim()
    return runner


@pytest.fixture
async def person(plane, runner):
    return Person(plane, runner.id, await plane.key(Permission.EXECUTE))


class Person:
    def __init__(self, plane, run_id, key):
        self.plane = plane
        self.run_id = run_id
        self.path = f"/api/runs/{run_id}/commands"
        self.key = key

    async def send(self, kind, data=None, **headers):
        body = {"kind": kind, "data": data or {}}
        return await self.plane.http.post(self.path, json=body, headers={**self.key, **headers})

    async def listed(self):
        return (await self.plane.http.get(self.path, headers=self.key)).json()


async def poll(runner, after=0, seconds=0, **changed):
    return await runner.call("GET", f"/api/runs/{runner.id}/commands?after={after}&wait={seconds}", **changed)


async def test_what_is_asked_reaches_the_runner_in_order_and_its_results_the_people(runner, person):
    sent = [
        await person.send("message", {"text": "Use the other file"}),
        await person.send("message", {"text": "Stop that", "mode": "interrupt"}),
        await person.send("answer", {"question_id": "q1", "answers": ["yes"]}),
        await person.send("command", {"command": "git diff"}),
        await person.send("command", {"argv": ["pytest", "-v"]}),
    ]
    assert [answer.status_code for answer in sent] == [202] * 5
    got = (await poll(runner)).json()["commands"]
    assert [one["sequence"] for one in got] == [1, 2, 3, 4, 5]
    assert [one["data"] for one in got] == [
        {"text": "Use the other file", "mode": "queue"},
        {"text": "Stop that", "mode": "interrupt"},
        {"question_id": "q1", "answers": ["yes"]},
        {"argv": ["git", "diff"]},
        {"argv": ["pytest", "-v"]},
    ]
    assert {one["issued_by"] for one in got} == {"key tests"}
    assert [one["sequence"] for one in (await poll(runner, after=3)).json()["commands"]] == [4, 5]

    done = {"state": "done", "exit_code": 0, "text": "diff --git", "artifact": "latest.diff"}
    target = f"/api/runs/{runner.id}/commands/{got[3]['id']}/result"
    assert (await runner.call("POST", target, done)).json() == {"id": got[3]["id"], "state": "done"}
    assert (await runner.call("POST", target, {"state": "failed"})).json()["state"] == "done"
    told = (await person.listed())["commands"][3]
    assert (told["state"], told["exit_code"], told["text"], told["artifact"]) == (
        "done",
        0,
        "diff --git",
        "latest.diff",
    )
    assert [one["sequence"] for one in (await poll(runner)).json()["commands"]] == [1, 2, 3, 5]
    unknown = await runner.call("POST", f"/api/runs/{runner.id}/commands/cmd-000099/result", done)
    assert (unknown.status_code, code(unknown)) == (404, "unknown_command")


async def test_the_fourteen_and_the_operator_s_own_are_told_with_a_description(person):
    allowed = (await person.listed())["allowed"]
    assert len(allowed) == 14
    assert all(one["description"] for one in allowed)


REFUSED = (
    ("command", {"command": "git status; id"}, (403, "command_not_allowed")),
    ("command", {"command": "git  status"}, (403, "command_not_allowed")),
    ("command", {"command": "git status --ext-diff"}, (403, "command_not_allowed")),
    ("command", {"command": "git status\n"}, (403, "command_not_allowed")),
    ("command", {"argv": ["git status"]}, (403, "command_not_allowed")),
    ("command", {"argv": ["sh", "-c", "id"]}, (403, "command_not_allowed")),
    ("command", {"argv": []}, (403, "command_not_allowed")),
    ("command", {}, (422, "invalid_body")),
    ("command", {"argv": ["pwd"], "command": "pwd"}, (422, "invalid_body")),
    ("message", {"text": ""}, (422, "invalid_body")),
    ("message", {"text": "x", "mode": "shout"}, (422, "invalid_body")),
    ("message", {"text": "x" * 50_001}, (422, "invalid_body")),
    ("answer", {"question_id": "q", "answers": ["x"] * 51}, (422, "invalid_body")),
    ("answer", {"answers": []}, (422, "invalid_body")),
    ("stop", {"why": "because"}, (422, "invalid_body")),
    ("exec", {}, (422, "invalid_body")),
)


async def test_what_is_refused_is_told_apart_audited_and_not_stored(person, caplog):
    for kind, data, refusal in REFUSED:
        caplog.clear()
        with caplog.at_level(logging.INFO, "dispatcher.audit"):
            answer = await person.send(kind, data)
        assert (answer.status_code, code(answer)) == refusal, data
        lines = [record for record in caplog.records if record.name == "dispatcher.audit"]
        assert [(line.audit, line.caller, line.run_id) for line in lines] == [(refusal[1], "key tests", person.run_id)]
    assert (await person.listed())["commands"] == []


async def test_what_is_accepted_is_audited_too(runner, person, caplog):
    with caplog.at_level(logging.INFO, "dispatcher.audit"):
        await person.send("message", {"text": "hello"})
    lines = [record for record in caplog.records if record.name == "dispatcher.audit"]
    assert [(line.audit, line.method, line.caller) for line in lines] == [("accepted", "POST", "key tests")]
    assert "hello" not in caplog.text


async def test_the_same_key_sends_a_command_once(person):
    first = await person.send("message", {"text": "once"}, **{"idempotency-key": "k1"})
    again = await person.send("message", {"text": "once"}, **{"idempotency-key": "k1"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    other = await person.send("message", {"text": "another"}, **{"idempotency-key": "k1"})
    assert (other.status_code, code(other)) == (409, "idempotency_key_reused")
    assert len((await person.listed())["commands"]) == 1


async def test_many_at_once_each_get_a_number(runner, person):
    answers = await asyncio.gather(*(person.send("message", {"text": str(n)}) for n in range(12)))
    assert sorted(answer.json()["sequence"] for answer in answers) == list(range(1, 13))
    got = (await poll(runner)).json()["commands"]
    assert sorted(one["data"]["text"] for one in got) == sorted(str(n) for n in range(12))


async def test_a_waiting_runner_is_woken_at_once(plane, runner, person, monkeypatch):
    from dispatcher.gateway import commands

    monkeypatch.setattr(commands, "LOOK_AGAIN_SECONDS", 3600.0)  # only the bell can wake it in time
    waiting = asyncio.create_task(poll(runner, seconds=50))
    await until(lambda: runner.id in plane.services.command_bell._waiting)
    await person.send("message", {"text": "wake up"})
    assert [one["data"]["text"] for one in (await waiting).json()["commands"]] == ["wake up"]


async def test_a_command_that_another_process_took_is_found_by_looking(plane, runner, person, monkeypatch):
    from dispatcher.bell import Bell
    from dispatcher.gateway import commands

    monkeypatch.setattr(commands, "LOOK_AGAIN_SECONDS", 0.02)
    waiting = asyncio.create_task(poll(runner, seconds=50))
    await until(lambda: runner.id in plane.services.command_bell._waiting)
    monkeypatch.setattr(Bell, "ring", lambda *_: None)
    await person.send("message", {"text": "from afar"})
    assert [one["data"]["text"] for one in (await waiting).json()["commands"]] == ["from afar"]


async def test_an_empty_poll_ends_when_its_time_is_up(runner):
    assert (await poll(runner)).json() == {"commands": []}
    bad = await poll(runner, seconds=51)
    assert (bad.status_code, code(bad)) == (422, "invalid_wait")


async def test_stop_marks_the_run_and_wakes_the_runner_and_is_one_command_however_often(plane, runner, person):
    for answer in (await person.send("stop"), await person.send("stop")):
        assert (answer.status_code, answer.json()["kind"]) == (202, "stop")
    assert (await plane.http.post(f"/api/runs/{runner.id}/cancel", headers=person.key)).status_code == 202
    got = (await poll(runner)).json()["commands"]
    assert [one["kind"] for one in got] == ["stop"]
    assert (await runner.beat()).json()["cancel"] is True


async def test_stopping_a_run_that_nobody_works_on_ends_it(plane):
    run = await plane.new_run()
    person = Person(plane, run.id, await plane.key())
    answer = await person.send("stop")
    assert (answer.status_code, answer.json()["state"]) == (200, "done")
    assert (await plane.run(run.id)).state == "cancelled"
    late = await person.send("message", {"text": "hello?"})
    assert (late.status_code, code(late)) == (409, "run_ended")


async def test_a_runner_whose_run_was_given_to_another_gets_no_commands(plane, runner, person, monkeypatch):
    from dispatcher.gateway import commands

    monkeypatch.setattr(commands, "LOOK_AGAIN_SECONDS", 0.02)
    waiting = asyncio.create_task(poll(runner, seconds=50))
    await until(lambda: runner.id in plane.services.command_bell._waiting)
    plane.github.clock.forward(2 * MINUTE)
    await plane.sweep()
    await person.send("message", {"text": "for the new one"})
    late = await waiting
    assert (late.status_code, code(late)) == (409, "launch_superseded")
    second = plane.runner()
    await second.claim("two")
    assert len((await poll(second)).json()["commands"]) == 1


async def test_a_read_key_sees_commands_and_sends_none(plane, runner):
    reader = Person(plane, runner.id, await plane.key(Permission.READ))
    refused = await reader.send("message", {"text": "hi"})
    assert (refused.status_code, code(refused)) == (403, "missing_permission")
    assert (await reader.listed())["commands"] == []


async def test_there_is_an_end_to_what_is_asked_but_always_room_for_a_stop(person, monkeypatch):
    monkeypatch.setattr("infra.records.commands.MAX_COMMANDS", 2)
    for _ in range(2):
        assert (await person.send("command", {"command": "pwd"})).status_code == 202
    full = await person.send("command", {"command": "pwd"})
    assert (full.status_code, code(full)) == (409, "too_many_commands")
    assert (await person.send("stop")).status_code == 202
