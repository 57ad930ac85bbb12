"""What people are told on the forge about a run: once, in one comment, whatever dies in between."""

import asyncio
import re

import pytest

from infra.core.clock import HOUR, MINUTE, SECOND
from infra.core.content_pace import ContentPace, Weight
from infra.core.ids import parse_run_id
from infra.core.status_comment import is_marked
from tests.world.answers import Conversation


@pytest.fixture
async def talk(plane):
    return await Conversation.on_an_issue(plane)


async def test_one_comment_goes_through_all_states_of_a_run(talk):
    run_id = await talk.start()
    await talk.listen()
    said = await talk.only_comment()
    assert said["user"]["login"] == "pullwright[bot]"
    assert said["body"].startswith("**Queued**, next in line.")
    assert "asked for by `alice`" in said["body"]
    assert await talk.reactions() == ["eyes"]

    runner = await talk.claimed(run_id)
    await runner.beat(phase="working")
    await runner.call(
        "POST", "/api/ingest/event", talk.checklist(run_id, ("Reproduce", "completed"), ("Mend", "in_progress"))
    )
    talk.pass_time(20 * SECOND)
    await talk.listen()
    body = (await talk.only_comment())["body"]
    assert body.startswith("**The agent is working.**")
    assert "- [x] Reproduce\n- [ ] **Mend**" in body

    await runner.settle("failed", reason={"code": "max_turns", "message": "It took too long.", "hint": "Ask for less."})
    await talk.listen()
    body = (await talk.only_comment())["body"]
    assert body.startswith("**This did not work.**\n\nIt took too long.\n\n**Next:** Ask for less.")
    assert re.search(r"Run \[run-\w+\]\(http://dispatcher\.test/api/runs/run-\w+\)", body)
    assert await talk.reactions() == ["eyes", "confused"]
    assert await talk.due(run_id) is None


async def test_the_label_that_asked_is_taken_off_when_the_run_starts(talk):
    run_id = await talk.start()
    await talk.listen()
    assert await talk.labels() == ["claude"]
    await talk.claimed(run_id)
    talk.pass_time(20 * SECOND)
    await talk.listen()
    assert await talk.labels() == []


async def test_a_second_run_takes_the_same_comment_over_and_the_first_stays_as_a_line(talk):
    first = await talk.start()
    await (await talk.claimed(first)).settle(
        "no_changes", reason={"code": "no_changes", "message": "Nothing.", "hint": ""}
    )
    await talk.listen()
    second = await talk.start()
    talk.pass_time(20 * SECOND)
    await talk.listen()
    body = (await talk.only_comment())["body"]
    assert body.startswith("**Queued**")
    assert f"Earlier here:\n- {first}: no changes" in body
    assert second in body


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["comments", "reactions"])
async def test_a_lost_answer_leaves_one_of_everything(talk, moment, step):
    run_id = await talk.start()
    talk.break_once("POST", step, after=moment == "after")
    await (await talk.claimed(run_id)).settle("failed", reason={"code": "x", "message": "No.", "hint": ""})
    for _ in range(4):
        await talk.listen()
        talk.pass_time(2 * MINUTE)
    assert talk.github.forge.faults.waiting == 0
    assert (await talk.only_comment())["body"].startswith("**This did not work.**")
    assert await talk.reactions() == ["eyes", "confused"]
    assert await talk.due(run_id) is None


async def test_a_comment_of_somebody_else_with_our_marker_is_not_taken_for_ours(talk):
    run_id = await talk.start()
    talk.break_once("POST", "comments", after=False)
    await talk.listen()
    await talk.say(f"Ha!\n<!-- pullwright:conversation=acme/shop#{talk.number} -->")
    talk.pass_time(2 * MINUTE)
    await talk.listen()
    bodies = [comment["body"] for comment in await talk.comments()]
    assert len(bodies) == 2
    assert bodies[0].startswith("Ha!")
    assert is_marked(bodies[1], "acme/shop", talk.number)
    assert run_id in bodies[1]


async def test_a_comment_that_a_person_deleted_is_written_anew_with_the_next_news(talk):
    run_id = await talk.start()
    await talk.listen()
    await talk.delete_comment((await talk.only_comment())["id"])
    await (await talk.claimed(run_id)).settle("failed", reason={"code": "x", "message": "No.", "hint": ""})
    await talk.listen()
    assert (await talk.only_comment())["body"].startswith("**This did not work.**")


async def test_a_lost_nudge_delays_the_news_until_the_sweeper_comes_by(talk):
    run_id = await talk.start()
    await (await talk.claimed(run_id)).settle("failed", reason={"code": "x", "message": "No.", "hint": ""})
    talk.forget_nudges()
    talk.pass_time(2 * MINUTE)
    await talk.sweep()
    await talk.listen()
    assert (await talk.only_comment())["body"].startswith("**This did not work.**")


async def test_many_at_once_write_one_comment(talk):
    run_id = await talk.start()
    await asyncio.gather(*(talk.announce(run_id) for _ in range(8)))
    talk.pass_time(1 * MINUTE)
    await talk.listen()
    await talk.only_comment()


async def test_progress_is_shown_at_most_every_fifteen_seconds(talk):
    run_id = await talk.start()
    await talk.listen()
    runner = await talk.claimed(run_id)
    before = talk.writes()
    for second in range(60):
        body = talk.checklist(run_id, (f"Step {second}", "in_progress"), first=second + 1)
        await runner.call("POST", "/api/ingest/event", body)
        await runner.beat(phase="working")
        await talk.listen()
        talk.pass_time(1 * SECOND)
    assert len([call for call in talk.writes()[len(before) :] if "/comments" in call.path]) <= 5


async def test_a_stopped_change_is_kept_as_a_patch_in_the_comment(talk):
    run_id = await talk.start()
    runner = await talk.claimed(run_id)
    patch = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new ``` fence\n"
    await runner.call("POST", "/api/ingest/artifact?name=change.patch&fence=1", raw=patch)
    reason = {"code": "blocked_protected_paths", "message": "It touches ci.yml.", "hint": "Apply it yourself."}
    await runner.settle("blocked", reason=reason)
    await talk.listen()
    body = (await talk.only_comment())["body"]
    assert "<details><summary>The change, as a patch" in body
    assert "````diff\n--- a/x\n" in body


async def test_a_change_with_a_secret_is_not_shown(talk):
    run_id = await talk.start()
    runner = await talk.claimed(run_id)
    await runner.call("POST", "/api/ingest/artifact?name=change.patch&fence=1", raw=b"+secret\n")
    await runner.settle("blocked", reason={"code": "blocked_secret", "message": "A secret.", "hint": ""})
    await talk.listen()
    assert "+secret" not in (await talk.only_comment())["body"]


@pytest.mark.parametrize("count", [pytest.param(30), pytest.param(200, marks=pytest.mark.full)])
async def test_a_burst_of_runs_stays_under_the_limits_of_content_and_none_is_lost(plane, count):
    talks = [await Conversation.on_an_issue(plane, f"Wrong {number}") for number in range(count)]
    plane.github.clock.freeze()
    runs = [await talk.start() for talk in talks]
    for talk, run_id in zip(talks, runs, strict=True):
        await (await talk.claimed(run_id)).settle("failed", reason={"code": "x", "message": "No.", "hint": ""})
    started, moments = plane.now, []
    while await plane.services.telling.announcements.due(plane.now + HOUR):
        assert plane.now - started < 6 * HOUR
        before = len(talks[0].writes())
        await talks[0].listen()
        moments += [plane.now] * (len(talks[0].writes()) - before)
        talks[0].pass_time(30 * SECOND)
    for window, most in ((MINUTE, 80), (HOUR, 500)):
        assert max(sum(moment <= other < moment + window for other in moments) for moment in set(moments)) <= most
    for talk in talks:
        assert (await talk.only_comment())["body"].startswith("**This did not work.**")


def test_the_pace_lets_the_result_through_when_progress_must_wait():
    from infra.core.content_pace import spend

    pace, now = ContentPace(), 1_000_000
    while True:
        pace, wait = spend(pace, writes=1, weight=Weight.PROGRESS, now=now)
        if wait:
            break
    assert spend(pace, writes=1, weight=Weight.RECEIPT, now=now)[1] == 0
    assert spend(pace, writes=1, weight=Weight.RESULT, now=now)[1] == 0


def test_run_ids_of_conversations_sort_by_time():
    assert parse_run_id("run-01jcqz7v8wabcdefghjkmnpqrs") < parse_run_id("run-01jcqz7v9wabcdefghjkmnpqrs")
