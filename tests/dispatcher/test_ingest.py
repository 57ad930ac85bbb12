"""What runners send: one event or many, files in one piece or in parts; and everything that is refused, each by its name."""

import hashlib
import logging
import os

import pytest

from infra.core.access import Permission
from infra.core.clock import MINUTE
from runner.gateway import Gateway
from runner.upload import upload
from tests.world.served import served


def code(answer):
    return answer.json()["error"]["code"]


@pytest.fixture
async def runner(plane):
    await plane.new_run()
    runner = plane.runner()
    await runner.claim()
    return runner


def one(sequence=1, **changes):
    return {"sequence": sequence, "type": "stdout", "at": 5, "data": {"text": "hi"}, **changes}


async def post(runner, fence=1, run_id=None, **body):
    sent = {"run_id": run_id or runner.id, "fence": fence, **body}
    return await runner.call("POST", "/api/ingest/event", sent)


def audited(caplog):
    return [(record.audit, record.run_id) for record in caplog.records if record.name == "dispatcher.audit"]


async def stored(plane, runner):
    events = (await plane.services.timelines.read(runner.id)).events
    return [event.sequence for event in events]


async def test_one_event_or_a_batch_with_one_numbering_over_all_kinds(plane, runner):
    assert (await post(runner, event=one(1))).json() == {"next_sequence": 2}
    batch = [one(2, type="stderr"), one(3, type="stdout"), one(4, type="marker", data={"name": "started"})]
    assert (await post(runner, events=batch)).json() == {"next_sequence": 5}
    assert await stored(plane, runner) == [1, 2, 3, 4]


REFUSED_EVENTS = (
    ({"event": one(1, type="gossip")}, "unknown_event_type"),
    ({"events": [one(2), one(1)]}, "sequence_backwards"),
    ({"events": [one(1), one(1)]}, "sequence_backwards"),
    ({"events": [one(1), one(3)]}, "sequence_backwards"),
    ({"event": one(2)}, "sequence_gap"),
    ({"event": one(0)}, "invalid_body"),
    ({"event": one(1, at=-1)}, "invalid_body"),
    ({"event": one(1, data="text")}, "invalid_body"),
    ({"event": one(1, colour="red")}, "invalid_body"),
    ({"event": one(1), "events": [one(1)]}, "invalid_body"),
    ({}, "invalid_body"),
    ({"event": one(1), "fence": 7}, "lease_lost"),
    ({"event": one(1), "run_id": "run-" + "0" * 26}, "foreign_run"),
)


async def test_events_that_are_refused_leave_a_line_and_nothing_else(plane, runner, caplog):
    for body, expected in REFUSED_EVENTS:
        caplog.clear()
        with caplog.at_level(logging.INFO, "dispatcher.audit"):
            answer = await post(runner, **body)
        assert 400 <= answer.status_code < 500, body
        assert code(answer) == expected, body
        assert audited(caplog) == [(expected, runner.id)]
    assert await stored(plane, runner) == []


async def refusals(plane, runner):
    """Every way in which a call is not this runner's, with the code that says so."""
    from infra import run_token

    run = await plane.run(runner.id)
    other = await plane.new_run(task="Another task")
    body = {"run_id": runner.id, "fence": 1, "events": [one(1)]}
    yield (
        "invalid_run_token",
        await runner.call("POST", "/api/ingest/event", body, token=run_token.mint(b"z" * 64, run)),
    )
    foreign = plane.runner().job.token
    assert plane.runner().id == other.id
    yield "foreign_run", await runner.call("POST", "/api/ingest/event", body, token=foreign)
    yield "stale_request", await runner.call("POST", "/api/ingest/event", body, timestamp=plane.now - 6 * MINUTE)
    yield "stale_request", await runner.call("POST", "/api/ingest/event", body, timestamp=plane.now + 6 * MINUTE)
    yield "invalid_signature", await runner.call("POST", "/api/ingest/event", body, signed=b"{")
    nonce = "n" * 24
    assert (await runner.call("POST", "/api/ingest/event", {**body, "events": []}, nonce=nonce)).status_code == 200
    yield "replayed_request", await runner.call("POST", "/api/ingest/event", body, nonce=nonce)
    plane.github.clock.forward(2 * MINUTE)
    await plane.sweep()
    yield "launch_superseded", await runner.call("POST", "/api/ingest/event", body)
    plane.github.clock.forward(300 * MINUTE)
    yield "expired_run_token", await runner.call("POST", "/api/ingest/event", body)


async def test_calls_that_are_not_this_runner_s_are_told_apart_audited_and_store_nothing(plane, runner, caplog):
    expected, told = [], []
    with caplog.at_level(logging.INFO, "dispatcher.audit"):
        async for wanted, answer in refusals(plane, runner):
            assert 400 <= answer.status_code < 500
            expected.append(wanted)
            told.append(code(answer))
    assert told == expected
    lines = [record.audit for record in caplog.records if record.name == "dispatcher.audit"]
    assert [line for line in lines if line != "accepted"] == expected
    assert await stored(plane, runner) == []
    assert runner.job.token not in caplog.text


async def artifact(runner, name="claude.log", raw=b"x", more="", **changed):
    return await runner.call("POST", f"/api/ingest/artifact?name={name}&fence=1{more}", raw=raw, **changed)


async def kept(plane, runner):
    listed = await plane.http.get(f"/api/runs/{runner.id}/artifacts", headers=await plane.key(Permission.READ))
    return [one["name"] for one in listed.json()["artifacts"]]


GOOD = ("claude.log", "latest.diff", "a.log", "b.txt", "c.json", "d.diff", "e.patch", "f.md", "work.bundle")
SUM = hashlib.sha256(b"x").hexdigest()


async def test_the_kinds_that_are_kept(plane, runner):
    for name in GOOD:
        assert (await artifact(runner, name)).json() == {"name": name, "size": 1, "sha256": SUM}
    assert await kept(plane, runner) == sorted(GOOD)


REFUSED_FILES = (
    ({"name": "../claude.log"}, (422, "invalid_artifact_name")),
    ({"name": "a..b.log"}, (422, "invalid_artifact_name")),
    ({"name": "checkpoints/../x.tar"}, (422, "invalid_artifact_name")),
    ({"name": "run.sh"}, (422, "invalid_artifact_name")),
    ({"name": "page.html"}, (422, "invalid_artifact_name")),
    ({"name": "x.tar"}, (422, "invalid_artifact_name")),
    ({"name": ""}, (422, "invalid_artifact_name")),
    ({"more": f"&offset=0&total={2 * 2**30}&sha256={SUM}"}, (413, "artifact_too_large")),
    ({"more": "&offset=0&total=1&sha256=abc"}, (422, "invalid_checksum")),
    ({"more": f"&offset=1&total=9&sha256={SUM}"}, (409, "offset_mismatch")),
    ({"more": f"&offset=0&total=0&sha256={SUM}"}, (422, "invalid_total")),
    ({"raw": b"xy", "more": f"&offset=0&total=1&sha256={SUM}"}, (413, "body_too_large")),
    ({"announced": "0" * 64}, (401, "invalid_signature")),
    ({"announced": "nothing"}, (422, "invalid_checksum")),
    ({"signed": b"y", "announced": hashlib.sha256(b"y").hexdigest()}, (422, "checksum_mismatch")),
)


async def test_files_that_are_refused_leave_a_line_and_nothing_else(plane, runner, caplog):
    for options, expected in REFUSED_FILES:
        caplog.clear()
        with caplog.at_level(logging.INFO, "dispatcher.audit"):
            answer = await artifact(runner, **options)
        assert (answer.status_code, code(answer)) == expected, options
        assert [outcome for outcome, _ in audited(caplog)] == [expected[1]]
    assert await kept(plane, runner) == []
    assert await plane.services.bucket.list("uploads/") == ()


async def test_two_gigabytes_are_refused_before_they_are_read(plane, runner):
    target = "/api/ingest/artifact?name=claude.log&fence=1"
    headers = runner.headers("POST", target, b"") | {"content-length": str(2 * 2**30)}
    answer = await plane.http.post(target, content=b"", headers=headers)
    assert (answer.status_code, code(answer)) == (413, "body_too_large")


def parts(content, size):
    return [(start, content[start : start + size]) for start in range(0, len(content), size)]


async def test_a_file_in_parts_is_taken_up_where_it_broke_off(plane, runner):
    content = os.urandom(10_000)
    query = f"&total={len(content)}&sha256={hashlib.sha256(content).hexdigest()}"
    state = f"/api/ingest/artifact?name=claude.log{query}"
    assert (await runner.call("GET", state)).json()["offset"] == 0
    for offset, part in parts(content, 3_000)[:2]:
        answer = await artifact(runner, raw=part, more=f"{query}&offset={offset}")
        assert (answer.status_code, answer.json()["offset"]) == (202, offset + 3_000)
    again = await artifact(runner, raw=content[:3_000], more=f"{query}&offset=0")
    assert (again.status_code, again.json()["offset"]) == (202, 6_000)
    ahead = await artifact(runner, raw=b"x", more=f"{query}&offset=9000")
    assert (ahead.status_code, code(ahead)) == (409, "offset_mismatch")
    assert "6000" in ahead.json()["error"]["hint"]
    assert (await runner.call("GET", state)).json()["offset"] == 6_000
    assert await kept(plane, runner) == []
    for offset, part in parts(content, 3_000)[2:]:
        answer = await artifact(runner, raw=part, more=f"{query}&offset={offset}")
    assert answer.json()["stored"]["size"] == len(content)
    once_more = await artifact(runner, raw=content[9_000:], more=f"{query}&offset=9000")
    assert once_more.json() == answer.json()
    fetched = await plane.http.get(f"/api/runs/{runner.id}/artifacts/claude.log", headers=await plane.key())
    assert fetched.content == content
    assert await plane.services.bucket.list("uploads/") == ()


async def test_parts_that_are_not_what_was_announced_leave_nothing(plane, runner):
    query = f"&total=2&sha256={SUM}"
    assert (await artifact(runner, raw=b"x", more=f"{query}&offset=0")).status_code == 202
    answer = await artifact(runner, raw=b"y", more=f"{query}&offset=1")
    assert (answer.status_code, code(answer)) == (422, "checksum_mismatch")
    assert await kept(plane, runner) == []
    assert await plane.services.bucket.list("uploads/") == ()


async def test_half_a_file_is_gone_when_its_run_is_over(plane, runner):
    await artifact(runner, raw=b"x", more=f"&total=2&sha256={SUM}&offset=0")
    assert len(await plane.services.bucket.list("uploads/")) == 1
    await runner.settle("failed")
    assert await plane.services.bucket.list("uploads/") == ()


async def test_checkpoints_are_for_runners_only(plane, runner):
    name = "checkpoints/session.jsonl"
    assert (await artifact(runner, name)).json()["name"] == name
    assert await kept(plane, runner) == []
    target = f"/api/runs/{runner.id}/artifacts/{name}"
    assert (await runner.call("GET", target)).content == b"x"
    hidden = await plane.http.get(target, headers=await plane.key(Permission.ADMIN))
    assert (hidden.status_code, code(hidden)) == (404, "unknown_artifact")


async def test_the_runner_s_own_client_sends_files_of_any_size_in_parts(plane, runner, tmp_path):
    path = tmp_path / "claude.log"
    content = os.urandom(50_000)
    path.write_bytes(content)
    async with (
        served(plane.app) as url,
        Gateway(
            url=url, run_id=runner.id, token=runner.job.token, clock=plane.services.clock, entropy=os.urandom
        ) as gateway,
    ):
        sent = await upload(gateway, path, name="claude.log", fence=1, part_bytes=16_000)
        again = await upload(gateway, path, name="claude.log", fence=1, part_bytes=16_000)
        (tmp_path / "empty.log").touch()
        empty = await upload(gateway, tmp_path / "empty.log", name="empty.log", fence=1)
    assert sent == again
    assert (sent.size, sent.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert empty.size == 0
