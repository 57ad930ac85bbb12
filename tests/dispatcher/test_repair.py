"""Red checks on the forge, judged before a runner costs anything."""

import pytest

from dispatcher.engine.repair import judged
from infra.core.repository import Repository
from infra.core.run import State
from tests.world.answers import Conversation, branch
from tests.world.forge import bearer


@pytest.fixture
async def talk(plane):
    return await Conversation.on_a_pull(plane)


async def check(talk, conclusion, sha, name="tests", said=""):
    token = await talk.github.installation_token()
    body = {"name": name, "head_sha": sha, "status": "completed", "conclusion": conclusion}
    if said:
        body["output"] = {"title": "Tests", "summary": said}
    answer = await talk.github.http.post(f"{talk.github.path}/check-runs", json=body, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def verdict(talk, head=""):
    run = await talk.plane.run(await talk.start_on_pull())
    repository = (await talk.plane.services.forge()).on(run.installation_id, Repository("acme", "shop"))
    return await judged(run, head or talk.head_sha, repository, talk.plane.services)


async def base_sha(talk):
    return (await talk.get("branches/main"))["commit"]["sha"]


async def test_red_by_the_change_is_repaired_once_and_then_a_person_is_asked(talk):
    await check(talk, "success", await base_sha(talk))
    await check(talk, "failure", talk.head_sha)
    assert await verdict(talk) is None
    second = await verdict(talk)
    assert (second.state, second.reason.code) == (State.BLOCKED, "needs_human")
    assert "tests failed, and one attempt to repair it changed nothing." in second.reason.message


async def test_a_run_that_was_told_to_repair_is_told_so_again(talk):
    await check(talk, "success", await base_sha(talk))
    await check(talk, "failure", talk.head_sha)
    run = await talk.plane.run(await talk.start_on_pull())
    repository = (await talk.plane.services.forge()).on(run.installation_id, Repository("acme", "shop"))
    for _ in range(3):
        assert await judged(run, talk.head_sha, repository, talk.plane.services) is None


async def test_a_check_that_fails_by_itself_is_started_again(talk):
    await check(talk, "success", talk.head_sha)
    number = await check(talk, "failure", talk.head_sha)
    ended = await verdict(talk)
    assert (ended.state, ended.reason.code) == (State.NO_CHANGES, "checks_rerun")
    assert (await talk.get(f"check-runs/{number}"))["status"] == "queued"


async def test_red_on_the_base_too_is_a_persons_matter(talk):
    await check(talk, "failure", await base_sha(talk))
    await check(talk, "failure", talk.head_sha, said="boom")
    assert "red on the base branch, too" in (await verdict(talk)).reason.message


async def test_checks_of_an_older_head_start_nothing(talk):
    await check(talk, "failure", talk.head_sha, said="boom")
    await branch(talk.github, "feature", {"x": "y"}, onto="feature")
    assert (await verdict(talk)).reason.code == "checks_outdated"


async def test_all_green_by_now_starts_nothing(talk):
    assert (await verdict(talk)).reason.code == "checks_green"


async def test_giving_up_is_said_with_a_label_and_a_comment(talk):
    run_id = await talk.start_on_pull()
    runner = await talk.claimed(run_id)
    await runner.settle("blocked", reason={"code": "needs_human", "message": "It failed again.", "hint": "Look."})
    await talk.listen()
    assert await talk.labels() == ["needs-human"]
    body = (await talk.only_comment())["body"]
    assert "It failed again." in body
    assert "This needs a person now." in body
