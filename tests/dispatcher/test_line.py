"""One run at a time for an issue, a pull request or a branch; who comes meanwhile waits in order, and nobody is dropped."""

import asyncio

import pytest

from infra.core.clock import MINUTE
from infra.core.run import Reason, State, settle
from infra.core.triggers import PATH
from infra.records.subjects import MOST_WAITING
from tests.world import payloads
from tests.world.contributor import Contributor


def say(plane, text, *, number=3, by="alice", comment=501):
    body = payloads.delivered(
        sender=by,
        installation=plane.github.installation.id,
        action="created",
        issue=payloads.issue(number),
        comment=payloads.comment(f"@claude {text}", by=by, number=comment),
    )
    return plane.deliver(body, event="issue_comment")


async def runs(plane):
    return sorted((await plane.services.runs.list()).runs, key=lambda run: run.created_at)


async def end(plane, state="failed"):
    """The run whose task is the newest works and ends."""
    runner = plane.runner()
    assert (await runner.claim()).status_code == 200
    assert (await runner.settle(state)).status_code == 200


async def end_unnoticed(plane, run_id):
    """As if the process had died right after it had written the run's end."""
    reason = Reason(code="x", message="Died.")
    await plane.services.runs.change(run_id, lambda run: settle(run, State.FAILED, now=plane.now, reason=reason))


def texts(run):
    return [ask.text.removeprefix("@claude ") for ask in run.asks]


async def test_what_comes_while_a_run_works_waits_in_order_and_is_done_together(plane):
    first = (await say(plane, "one")).json()
    answers = [(await say(plane, text, comment=600 + n)).json() for n, text in enumerate(["two", "three", "four"])]
    assert [answer["status"] for answer in answers] == ["waiting"] * 3
    assert [answer["position"] for answer in answers] == [1, 2, 3]
    assert {answer["run_id"] for answer in answers} == {first["run_id"]}
    assert len(plane.queue.tasks) == 1
    await end(plane)
    before, after = await runs(plane)
    assert (before.state, texts(before)) == (State.FAILED, ["one"])
    assert (after.state, texts(after), after.origin.comment) == (State.QUEUED, ["two", "three", "four"], 600)
    task = (await plane.runner().claim()).json()["assignment"]["prompt"]
    assert task.index("two") < task.index("three") < task.index("four")


async def test_what_comes_during_the_second_run_waits_for_the_third(plane):
    for number, text in enumerate(("one", "two", "three")):
        await say(plane, text, comment=1000 + number)
    await end(plane)
    await say(plane, "four", comment=2001)
    await end(plane)
    assert [texts(run) for run in await runs(plane)] == [["one"], ["two", "three"], ["four"]]


async def test_other_issues_do_not_wait(plane):
    assert (await say(plane, "one", number=3)).json()["status"] == "accepted"
    assert (await say(plane, "one", number=4)).json()["status"] == "accepted"


async def test_the_same_label_twice_is_one_wish(plane):
    first = await plane.deliver(plane.issue(3, action="opened", label=None))
    second = await plane.deliver(plane.issue(3))
    assert second.json()["status"] == "ignored"
    assert first.json()["run_id"] in second.json()["reason"]


async def test_copies_of_what_waits_wait_once(plane):
    await say(plane, "one")
    copies = await asyncio.gather(*(say(plane, "two", comment=9) for _ in range(12)))
    assert {copy.status_code for copy in copies} == {202}
    await end(plane)
    assert [texts(run) for run in await runs(plane)] == [["one"], ["two"]]


@pytest.mark.parametrize("how", ["cancelled", "lost", "blocked"])
async def test_however_a_run_ends_the_next_begins(plane, how):
    first = (await say(plane, "one")).json()["run_id"]
    await say(plane, "two", comment=9)
    if how == "cancelled":
        answer = await plane.http.post(f"/api/runs/{first}/cancel", headers=await plane.key())
        assert answer.status_code == 200
    elif how == "lost":
        for _ in range(14):
            plane.github.clock.forward(11 * MINUTE)
            await plane.sweep()
    else:
        plane.github.forge.set_permission("alice", plane.github.repo, "read")
        assert (await plane.runner().claim()).status_code == 409
    before, after = await runs(plane)
    assert before.ended
    assert texts(after) == ["two"]


async def test_when_the_end_was_not_noticed_the_sweeper_lets_them_in(plane):
    run_id = (await say(plane, "one")).json()["run_id"]
    await say(plane, "two", comment=9)
    await end_unnoticed(plane, run_id)
    assert (await plane.sweep())["followed_up"] == 0
    plane.github.clock.forward(2 * MINUTE)
    assert (await plane.sweep())["followed_up"] == 1
    assert [texts(run) for run in await runs(plane)] == [["one"], ["two"]]


async def test_who_comes_after_an_unnoticed_end_does_not_overtake(plane):
    run_id = (await say(plane, "one")).json()["run_id"]
    await say(plane, "two", comment=9)
    await end_unnoticed(plane, run_id)
    assert (await say(plane, "three", comment=10)).status_code == 202
    assert [texts(run) for run in await runs(plane)] == [["one"], ["two", "three"]]


async def test_a_burst_is_one_run_and_then_one_more(plane):
    answers = await asyncio.gather(*(say(plane, f"{n}", comment=1000 + n) for n in range(40)))
    assert {answer.status_code for answer in answers} == {202}
    await end(plane)
    before, after = await runs(plane)
    assert (len(texts(before)), len(texts(after))) == (1, 39)
    assert sorted(texts(before) + texts(after), key=int) == [f"{n}" for n in range(40)]


async def test_a_line_has_an_end(plane):
    await say(plane, "one")
    for n in range(MOST_WAITING):
        answer = await say(plane, f"{n}", comment=1000 + n)
    assert answer.json()["position"] == MOST_WAITING
    refused = await say(plane, "too late", comment=9)
    assert (refused.status_code, refused.json()["status"]) == (200, "refused")


async def test_whoever_may_not_ask_any_more_is_left_out_of_the_merged_run_and_it_is_said(plane):
    plane.github.forge.set_permission("bob", plane.github.repo, "write")
    await say(plane, "one")
    await say(plane, "two", by="bob", comment=9)
    await say(plane, "three", comment=10)
    plane.github.forge.set_permission("bob", plane.github.repo, "read")
    await end(plane)
    assignment = (await plane.runner().claim()).json()["assignment"]
    assert "three" in assignment["prompt"]
    assert "two" not in assignment["prompt"]
    assert assignment["notices"] == ["What bob asked for was left out: bob has read permission on acme/shop."]


async def test_a_trigger_rests_after_a_run(plane, tmp_path):
    await Contributor(plane.github, tmp_path).push(
        PATH, "triggers:\n- on: mention\n  handle: claude\n  cooldown: 10m\n"
    )
    await say(plane, "one")
    await end(plane)
    early = await say(plane, "two", comment=9)
    assert early.json()["status"] == "ignored"
    assert "rests for another" in early.json()["reason"]
    plane.github.clock.forward(11 * MINUTE)
    assert (await say(plane, "three", comment=10)).status_code == 202
