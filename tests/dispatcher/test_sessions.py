"""Agentic sessions: the same runs, as their users make them, poll them to the end, and delete them."""

import pytest

from dispatcher.api.sessions import PHASES
from infra.core.access import Permission
from infra.core.run import State

SESSIONS = "/api/projects/acme--shop/agentic-sessions"


def code(answer):
    return answer.json()["error"]["code"]


@pytest.fixture
async def person(plane):
    return await plane.key(Permission.EXECUTE)


async def test_a_session_from_its_making_to_its_deletion(plane, person):
    marker = "TEST-20261121-5f0c"
    answer = await plane.http.post(
        SESSIONS, json={"prompt": f"{marker}: fix it", "displayName": "A test"}, headers=person
    )
    assert answer.status_code == 201
    made = answer.json()
    name = made["metadata"]["name"]
    assert answer.headers["location"] == f"{SESSIONS}/{name}"
    assert (made["metadata"]["project"], made["status"]["phase"]) == ("acme--shop", "Pending")
    assert (marker in made["spec"]["prompt"], made["spec"]["displayName"]) == (True, "A test")

    async def phase():
        return (await plane.http.get(f"{SESSIONS}/{name}", headers=person)).json()["status"]["phase"]

    runner = plane.runner()
    assert runner.id == name
    await runner.claim()
    assert await phase() == "Running"
    await runner.settle("no_changes", usage={"input_tokens": 812, "output_tokens": 20})
    done = (await plane.http.get(f"{SESSIONS}/{name}", headers=person)).json()["status"]
    assert (done["phase"], done["usage"]["input_tokens"]) == ("Completed", 812)

    assert (await plane.http.delete(f"{SESSIONS}/{name}", headers=person)).status_code == 204
    gone = await plane.http.get(f"{SESSIONS}/{name}", headers=person)
    assert (gone.status_code, code(gone)) == (404, "unknown_session")
    assert (await plane.http.get(SESSIONS, headers=person)).json()["items"] == []
    assert (await plane.http.get(f"/api/runs/{name}", headers=person)).status_code == 200


async def test_deleting_a_session_stops_its_run(plane, person):
    await plane.http.post(SESSIONS, json={"prompt": "go"}, headers=person)
    runner = plane.runner()
    await runner.claim()
    assert (await plane.http.delete(f"{SESSIONS}/{runner.id}", headers=person)).status_code == 204
    assert (await runner.beat()).json()["cancel"] is True


async def test_a_failed_session_has_its_reason(plane, person):
    await plane.http.post(SESSIONS, json={"prompt": "go"}, headers=person)
    runner = plane.runner()
    await runner.claim()
    await runner.settle("failed", reason={"code": "failed_model", "message": "Failed to run Claude Code", "hint": ""})
    status = (await plane.http.get(f"{SESSIONS}/{runner.id}", headers=person)).json()["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "failed_model")


async def test_lists_hold_the_sessions_of_one_project_newest_first(plane, person):
    names = []
    for number in range(3):
        answer = await plane.http.post(SESSIONS, json={"prompt": f"task {number}"}, headers=person)
        names.insert(0, answer.json()["metadata"]["name"])
        plane.github.clock.forward(5)
    page = (await plane.http.get(f"{SESSIONS}?limit=2", headers=person)).json()
    rest = (await plane.http.get(f"{SESSIONS}?limit=2&after={page['next']}", headers=person)).json()
    assert [one["metadata"]["name"] for one in page["items"] + rest["items"]] == names
    other = await plane.http.get("/api/projects/acme--other/agentic-sessions", headers=person)
    assert other.json()["items"] == []
    foreign = await plane.http.get(f"/api/projects/acme--other/agentic-sessions/{names[0]}", headers=person)
    assert foreign.status_code == 404


async def test_the_same_key_makes_one_session(plane, person):
    headers = {**person, "idempotency-key": "a"}
    made = [(await plane.http.post(SESSIONS, json={"prompt": "go"}, headers=headers)).json() for _ in range(2)]
    assert made[0]["metadata"]["name"] == made[1]["metadata"]["name"]


async def test_what_is_no_project_is_refused(plane, person):
    for project in ("shop", "--shop", "acme--", "-a--b", "acme--..", "a b--c"):
        answer = await plane.http.get(f"/api/projects/{project}/agentic-sessions", headers=person)
        assert answer.status_code == 422, project


def test_each_state_has_a_phase_and_only_success_is_completed():
    assert set(PHASES) == set(State)
    assert set(PHASES.values()) == {"Pending", "Creating", "Running", "Completed", "Failed"}
    assert {state for state, phase in PHASES.items() if phase == "Completed"} == {State.SUCCEEDED, State.NO_CHANGES}
