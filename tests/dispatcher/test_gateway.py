"""What a runner may do, and what nobody else may: leases, fences, signatures, credentials, the verified end."""

import json

import pytest

from infra.core.access import Permission
from infra.core.clock import MINUTE, later
from infra.core.run import State

MARKER = {"number": 1, "url": "http://x/pull/1", "branch": "claude/x", "head_sha": "0" * 40}


def code(answer):
    return answer.json()["error"]["code"]


@pytest.fixture
async def runner(plane):
    await plane.new_run()
    return plane.runner()


async def test_a_claim_carries_the_assignment_and_no_secret(plane, runner):
    answer = await runner.claim()
    claimed = answer.json()
    assert (claimed["fence"], claimed["attempt"], claimed["next_sequence"]) == (1, 1, 1)
    assignment = claimed["assignment"]
    assert assignment["git_url"].endswith("/acme/shop.git")
    assert assignment["branch"] == f"claude/{runner.id}"
    assert assignment["author_email"].endswith("+pullwright[bot]@users.noreply.github.com")
    assert "Fix the totals" in assignment["prompt"]
    for secret in ("ghs_", "sk-ant", "PRIVATE KEY", runner.job.token):
        assert secret not in answer.text


async def test_a_second_runner_is_told_that_the_run_is_held_and_a_repeated_claim_renews(runner):
    assert (await runner.claim("one")).status_code == 200
    held = await runner.claim("two")
    assert (held.status_code, code(held)) == (409, "run_held")
    again = await runner.claim("one")
    assert (again.json()["fence"], again.json()["attempt"]) == (1, 1)


async def test_after_a_lost_lease_the_old_runner_is_shut_out_and_the_new_one_goes_on(plane, runner):
    await runner.claim("one")
    await runner.events(1, 3)
    plane.github.clock.forward(2 * MINUTE)
    await plane.sweep()
    for answer in (
        await runner.beat(),
        await runner.events(4, 4),
        await runner.credentials("publish"),
        await runner.settle("succeeded"),
    ):
        assert (answer.status_code, code(answer)) == (409, "launch_superseded")
    second = plane.runner()
    claimed = (await second.claim("two")).json()
    assert (claimed["fence"], claimed["attempt"], claimed["next_sequence"]) == (2, 2, 4)


async def test_a_sender_who_may_only_read_starts_nothing(plane):
    plane.github.forge.set_permission("mallory", plane.github.repo, "read")
    answer = await plane.deliver(plane.issue(5, sender="mallory"))
    assert answer.status_code == 202
    claimed = await plane.runner().claim()
    assert (claimed.status_code, code(claimed)) == (409, "run_ended")
    run = await plane.run(answer.json()["run_id"])
    assert (run.state, run.reason.code) == (State.BLOCKED, "sender_not_permitted")
    assert "mallory" in run.reason.message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"token": "nonsense"}, "invalid_run_token"),
        ({"timestamp": 1}, "stale_request"),
        ({"signed": b"another body"}, "invalid_signature"),
    ],
)
async def test_calls_that_are_not_this_runner_s_are_told_apart(runner, change, expected):
    answer = await runner.call(
        "POST", f"/api/runs/{runner.id}/claim", {"holder": "x", "host": "x", "version": "x"}, **change
    )
    assert (answer.status_code, code(answer)) == (401, expected)


async def test_a_token_minted_with_another_key_an_expired_one_and_another_run_s(plane, runner):
    from infra import run_token

    run = await plane.run(runner.id)
    forged = run_token.mint(b"z" * 64, run)
    answer = await runner.call("POST", f"/api/runs/{runner.id}/claim", {}, token=forged)
    assert (answer.status_code, code(answer)) == (401, "invalid_run_token")

    other = await plane.new_run(task="Another task")
    answer = await runner.call("POST", f"/api/runs/{other.id}/claim", {"holder": "x", "host": "x", "version": "x"})
    assert (answer.status_code, code(answer)) == (403, "foreign_run")

    plane.github.clock.forward(120 * MINUTE)
    answer = await runner.claim()
    assert (answer.status_code, code(answer)) == (401, "expired_run_token")


async def test_a_captured_request_cannot_be_sent_again(plane, runner):
    target, body = f"/api/runs/{runner.id}/claim", json.dumps({"holder": "x", "host": "x", "version": "x"}).encode()
    headers = runner.headers("POST", target, body)
    assert (await plane.http.post(target, content=body, headers=headers)).status_code == 200
    again = await plane.http.post(target, content=body, headers=headers)
    assert (again.status_code, code(again)) == (401, "replayed_request")


async def test_an_api_key_is_no_run_token_and_a_run_token_no_api_key(plane, runner):
    key = await plane.key()
    answer = await plane.http.post(f"/api/runs/{runner.id}/claim", json={}, headers=key)
    assert answer.status_code == 401
    answer = await plane.http.get("/api/runs", headers={"authorization": f"Bearer {runner.job.token}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("permission", "read", "execute"),
    [(Permission.READ, 200, 403), (Permission.EXECUTE, 200, 202), (Permission.ADMIN, 200, 202)],
)
async def test_keys_open_what_their_permission_says(plane, permission, read, execute):
    run = await plane.new_run()
    key = await plane.key(permission)
    assert (await plane.http.get(f"/api/runs/{run.id}", headers=key)).status_code == read
    plane_answer = await plane.http.post(f"/api/runs/{run.id}/cancel", headers=key)
    assert plane_answer.status_code in {execute, 200 if execute == 202 else execute}


async def test_the_clone_token_reads_one_repository_and_the_write_token_waits_for_publishing(plane, runner):
    await runner.claim()
    clone = (await runner.credentials("clone")).json()["token"]
    headers = {"authorization": f"Bearer {clone}"}
    assert (await plane.github.http.get("/repos/acme/shop", headers=headers)).status_code == 200
    new = {"title": "x", "head": "x", "base": "main"}
    assert (await plane.github.http.post("/repos/acme/shop/pulls", json=new, headers=headers)).status_code == 403

    early = await runner.credentials("publish")
    assert (early.status_code, code(early)) == (409, "not_publishing")
    await runner.beat(phase="publishing")
    assert (await runner.credentials("publish")).json()["token"].startswith("ghs_")
    assert (await runner.credentials("everything")).status_code == 422


async def test_the_model_credential_goes_to_the_claimed_runner_only(runner):
    refused = await runner.credentials("model")
    assert (refused.status_code, code(refused)) == (409, "lease_lost")
    await runner.claim()
    given = (await runner.credentials("model")).json()
    assert given["headers"] == {"x-api-key": "sk-ant-a-model-key"}
    assert (await runner.credentials("model", fence=7)).status_code == 409


async def test_events_are_stored_once_in_order_and_gaps_are_named(plane, runner):
    await runner.claim()
    assert (await runner.events(1, 4)).json() == {"next_sequence": 5}
    assert (await runner.events(1, 4)).json() == {"next_sequence": 5}
    assert (await runner.events(3, 6)).json() == {"next_sequence": 7}
    gap = await runner.events(9, 9)
    assert (gap.status_code, code(gap)) == (422, "sequence_gap")
    assert "7" in gap.json()["error"]["hint"]
    unknown = await runner.events(7, 7, type="gossip")
    assert (unknown.status_code, code(unknown)) == (422, "unknown_event_type")
    page = (await plane.http.get(f"/api/runs/{runner.id}/events", headers=await plane.key())).json()
    assert [event["sequence"] for event in page["events"]] == [1, 2, 3, 4, 5, 6]


async def test_artifacts_are_kept_whole_under_plain_names(plane, runner):
    await runner.claim()
    body = bytes(range(256)) * 5000
    stored = await runner.call("POST", "/api/ingest/artifact?name=work.bundle&fence=1", raw=body)
    assert stored.json()["size"] == len(body)
    key = await plane.key(Permission.READ)
    fetched = await plane.http.get(f"/api/runs/{runner.id}/artifacts/work.bundle", headers=key)
    assert fetched.content == body
    assert fetched.headers["content-disposition"].startswith("attachment")
    assert (await plane.http.get(f"/api/runs/{runner.id}/artifacts", headers=key)).json()["artifacts"] == [
        stored.json()
    ]
    for name in ("../x.log", "x.sh", ".log", "a%2Fb.log", "x.log%00", "-.log"):
        refused = await runner.call("POST", f"/api/ingest/artifact?name={name}&fence=1", raw=b"x")
        assert (refused.status_code, code(refused)) == (422, "invalid_artifact_name"), name


async def test_a_success_that_github_does_not_confirm_is_a_failure(plane, runner):
    await runner.claim()
    for report in ({}, {"delivered": MARKER}):
        answer = await runner.settle("succeeded", **report)
        assert answer.status_code == 200
    run = await plane.run(runner.id)
    assert (run.state, run.reason.code) == (State.FAILED, "unverified")


async def test_a_pull_request_of_another_branch_is_not_believed(plane, runner):
    await runner.claim()
    person = {"authorization": f"Bearer {plane.github.person}"}
    main = (await plane.github.http.get("/repos/acme/shop/git/ref/heads/main", headers=person)).json()["object"]["sha"]
    content = {"message": "x", "content": "eA==", "branch": "other"}
    await plane.github.http.post(
        "/repos/acme/shop/git/refs", json={"ref": "refs/heads/other", "sha": main}, headers=person
    )
    del content
    answer = await runner.settle("succeeded", delivered={**MARKER, "number": 99})
    assert answer.json()["state"] == "failed"
    assert "does not know" in (await plane.run(runner.id)).reason.message


async def test_settling_again_gives_the_same_answer_and_changes_nothing(plane, runner):
    await runner.claim()
    usage = {"turns": 3, "cost_micros": 1200}
    first = await runner.settle("no_changes", usage=usage)
    again = await runner.settle("failed", usage=usage)
    assert first.json() == again.json() == {"state": "no_changes"}
    assert (await plane.run(runner.id)).usage.cost_micros == 1200


async def test_a_runner_cannot_settle_into_a_state_that_is_no_end(runner):
    await runner.claim()
    answer = await runner.settle("queued")
    assert (answer.status_code, code(answer)) == (422, "invalid_settlement")


async def test_cancel_reaches_the_holder_through_its_heartbeat_and_a_silent_holder_through_the_sweeper(plane, runner):
    await runner.claim()
    asked = await plane.http.post(f"/api/runs/{runner.id}/cancel", headers=await plane.key())
    assert asked.status_code == 202
    assert (await runner.beat()).json()["cancel"] is True
    plane.github.clock.forward(2 * MINUTE)
    await plane.sweep()
    assert (await plane.run(runner.id)).state is State.CANCELLED
    over = await plane.http.post(f"/api/runs/{runner.id}/cancel", headers=await plane.key())
    assert (over.status_code, code(over)) == (409, "run_ended")


async def test_a_runner_that_must_go_hands_its_run_to_the_next_one(plane, runner):
    await runner.claim("one")
    await runner.events(1, 3)
    checkpoint = {"phase": "working", "session_id": "s-1", "result": "checkpoints/session.bundle"}
    back = await runner.call("POST", f"/api/runs/{runner.id}/release", {"fence": 1, "checkpoint": checkpoint})
    assert back.json() == {"state": "queued"}
    assert code(await runner.call("POST", f"/api/runs/{runner.id}/release", {"fence": 1})) == "launch_superseded"
    claimed = (await plane.runner().claim("two")).json()
    assert (claimed["fence"], claimed["attempt"], claimed["next_sequence"]) == (2, 2, 4)
    assert claimed["checkpoint"]["session_id"] == "s-1"


async def test_only_the_holder_hands_a_run_back(plane, runner):
    await runner.claim("one")
    assert code(await runner.call("POST", f"/api/runs/{runner.id}/release", {"fence": 7})) == "lease_lost"
    assert (await plane.run(runner.id)).state is State.RUNNING


async def test_a_queued_run_is_cancelled_at_once(plane):
    run = await plane.new_run()
    answer = await plane.http.post(f"/api/runs/{run.id}/cancel", headers=await plane.key())
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await plane.runner().claim()).status_code == 409


async def test_every_route_for_keys_refuses_callers_without_one(plane):
    from dispatcher.app import ROUTES, Access

    for rule in ROUTES:
        path = (
            rule.path.replace("{run_id}", "run-" + "0" * 26)
            .replace("{owner}", "a")
            .replace("{repo}", "b")
            .replace("{name}", "x.log")
        )
        answer = await plane.http.request(rule.method, path)
        if rule.access is Access.ANYONE:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 401, path


async def test_time_is_the_dispatcher_s_and_a_lease_lives_as_long_as_it_said(plane, runner):
    claimed = (await runner.claim()).json()
    run = await plane.run(runner.id)
    assert run.lease.expires_at <= later(plane.now, claimed["lease_seconds"] * 1000)
