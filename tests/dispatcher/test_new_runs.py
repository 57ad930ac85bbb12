"""New runs by API: in the cloud, for a person's own runner, and taking up what another run left."""

import asyncio
import subprocess
from dataclasses import replace

import pytest

from infra.core.artifacts import SESSION_CHECKPOINT, WORK_CHECKPOINT, artifact_key
from infra.core.clock import HOUR, MINUTE
from infra.core.run import Checkpoint, Delivered, Phase, State, settle
from infra.wire import ProcessIssue
from tests.world.control_plane import URL, Runner

WANTED = {"owner": "acme", "repo": "shop", "task": "Fix the totals"}


def code(answer):
    return answer.json()["error"]["code"]


async def create(plane, key, **changes):
    headers = {**key, **{k.replace("_", "-"): v for k, v in changes.pop("headers", {}).items()}}
    return await plane.http.post("/api/runs", json={**WANTED, **changes}, headers=headers)


def person_s(plane, answer):
    told = answer.json()
    return Runner(plane, ProcessIssue(run_id=told["id"], token=told["token"], gateway_url=URL))


async def test_a_run_in_the_cloud_is_launched_at_once(plane):
    answer = await create(plane, await plane.key())
    assert (answer.status_code, answer.json()["executor"]) == (201, "cloud")
    assert "token" not in answer.json()
    assert (await plane.runner().claim()).status_code == 200
    assert plane.runner().id == answer.json()["id"]


async def test_a_run_for_a_person_s_runner_is_not_launched_and_shows_its_token_once(plane):
    key = await plane.key()
    answer = await create(plane, key, executor="attach")
    told = answer.json()
    assert (answer.status_code, told["status"], told["executor"]) == (201, "queued", "attach")
    assert answer.headers["cache-control"] == "no-store"
    assert plane.queue.tasks == []
    shown = (await plane.http.get(f"/api/runs/{told['id']}", headers=key)).json()
    assert "token" not in shown
    runner = person_s(plane, answer)
    claimed = (await runner.claim("a laptop")).json()
    assert "Fix the totals" in claimed["assignment"]["prompt"]


async def test_its_task_may_be_left_to_the_runner(plane):
    key = await plane.key()
    assert (await create(plane, key, executor="attach", task="")).status_code == 201
    empty = await create(plane, key, task="  ")
    assert (empty.status_code, code(empty)) == (422, "empty_task")


async def test_the_sweeper_leaves_it_alone_until_its_token_is_worth_nothing(plane):
    runner = person_s(plane, await create(plane, await plane.key(), executor="attach"))
    plane.github.clock.forward(23 * HOUR)
    await plane.sweep()
    assert (await plane.run(runner.id)).state is State.QUEUED
    assert (await runner.claim()).status_code == 200
    plane.github.clock.forward(2 * MINUTE)
    await plane.sweep()
    lost = await plane.run(runner.id)
    assert (lost.state, lost.launch) == (State.QUEUED, 1)
    assert plane.queue.tasks == []
    assert (await runner.claim("after a restart")).json()["fence"] == 2
    plane.github.clock.forward(2 * HOUR)
    await plane.sweep()
    over = await plane.run(runner.id)
    assert (over.state, over.reason.code) == (State.FAILED, "not_attached")


async def test_one_that_nobody_came_for_ends_with_a_sentence(plane):
    runner = person_s(plane, await create(plane, await plane.key(), executor="attach"))
    plane.github.clock.forward(25 * HOUR)
    await plane.sweep()
    run = await plane.run(runner.id)
    assert (run.state, run.reason.code) == (State.FAILED, "not_attached")
    late = await runner.claim()
    assert late.status_code == 409


async def test_the_same_key_makes_one_run_and_shows_the_same_token(plane):
    key = {**await plane.key(), "idempotency-key": "k1"}
    first, again = [await create(plane, key, executor="attach") for _ in range(2)]
    assert first.json() == again.json()
    other = await create(plane, key, executor="attach", task="Something else")
    assert (other.status_code, code(other)) == (409, "idempotency_key_reused")


@pytest.fixture
async def parent(plane, tmp_path):
    """A run that worked, opened a pull request and left a checkpoint."""
    run = await plane.new_run()
    await plane.runner().claim()
    number, head = await pull_request(plane, tmp_path / "person", run.branch)
    for name in (SESSION_CHECKPOINT, WORK_CHECKPOINT):
        await plane.services.bucket.put(
            artifact_key(run.id, name), pieces(name.encode()), content_type="application/octet-stream", max_bytes=100
        )
    saved = Checkpoint(phase=Phase.PUBLISHING, base_sha=run.base_sha, session_id="5e55")
    done = Delivered(number=number, url="http://x", branch=run.branch, head_sha=head)
    return await plane.services.runs.change(
        run.id,
        lambda one: settle(replace(one, checkpoint=saved), State.SUCCEEDED, now=plane.now, delivered=done),
    )


async def pieces(content):
    yield content


async def pull_request(plane, folder, branch):
    """(number, head SHA) of a pull request from ``branch``, which is one commit ahead."""
    url = plane.github.clone_url(plane.github.person)

    async def git(*arguments):
        done = await asyncio.to_thread(
            subprocess.run,
            ["git", "-c", "user.name=alice", "-c", "user.email=alice@example.org", *arguments],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    folder.mkdir()
    await git("clone", "-q", url, ".")
    await git("checkout", "-q", "-b", branch)
    await git("commit", "-q", "--allow-empty", "-m", "Work")
    await git("push", "-q", "origin", branch)
    new = {"title": "Work", "head": branch, "base": "main"}
    headers = {"authorization": f"Bearer {plane.github.person}"}
    answer = await plane.github.http.post(f"{plane.github.path}/pulls", json=new, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["number"], await git("rev-parse", "HEAD")


async def follow(plane, parent, how, **changes):
    body = {"task": "Now the other page", **changes}
    return await plane.http.post(f"/api/runs/{parent.id}/{how}", json=body, headers=await plane.key())


async def test_continue_adds_to_the_open_pull_request_with_the_same_conversation(plane, parent):
    answer = await follow(plane, parent, "continue")
    assert (answer.status_code, answer.json()["parent"]) == (201, parent.id)
    run = await plane.run(answer.json()["id"])
    assert (run.pull, run.branch, run.base_sha) == (
        parent.delivered.number,
        parent.branch,
        parent.delivered.head_sha,
    )
    runner = plane.runner()
    assert runner.id == run.id
    assignment = (await runner.claim()).json()["assignment"]
    assert assignment["branch"] == parent.branch
    assert assignment["resume_from"] == {
        "run_id": parent.id,
        "artifact": SESSION_CHECKPOINT,
        "session_id": "5e55",
        "fork": False,
        "work": "",
    }
    own = await runner.call("GET", f"/api/runs/{run.id}/artifacts/{SESSION_CHECKPOINT}")
    assert own.content == SESSION_CHECKPOINT.encode()
    foreign = await runner.call("GET", f"/api/runs/{parent.id}/artifacts/{SESSION_CHECKPOINT}")
    assert (foreign.status_code, code(foreign)) == (403, "foreign_run")


async def test_fork_goes_on_beside_it_on_a_branch_of_its_own(plane, parent):
    run = await plane.run((await follow(plane, parent, "fork")).json()["id"])
    assert (run.pull, run.base_sha, run.branch != parent.branch) == (0, parent.base_sha, True)
    left = (await plane.runner().claim()).json()["assignment"]["resume_from"]
    assert (left["fork"], left["work"]) == (True, WORK_CHECKPOINT)


async def test_continue_after_the_pull_request_was_closed_starts_from_the_base_branch(plane, parent):
    headers = {"authorization": f"Bearer {plane.github.person}"}
    path = f"{plane.github.path}/pulls/{parent.delivered.number}"
    assert (await plane.github.http.patch(path, json={"state": "closed"}, headers=headers)).status_code == 200
    run = await plane.run((await follow(plane, parent, "continue")).json()["id"])
    assert (run.pull, run.branch != parent.branch) == (0, True)


async def test_without_a_checkpoint_a_follow_up_starts_a_fresh_conversation(plane, parent):
    await plane.services.bucket.delete(artifact_key(parent.id, SESSION_CHECKPOINT))
    run = await plane.run((await follow(plane, parent, "continue", executor="attach")).json()["id"])
    assert (run.resume, run.parent, run.attach) == (None, parent.id, True)


async def test_a_run_at_work_is_not_continued(plane):
    run = await plane.new_run()
    answer = await follow(plane, run, "continue")
    assert (answer.status_code, code(answer)) == (409, "run_not_ended")
    assert "commands" in answer.json()["error"]["hint"]
