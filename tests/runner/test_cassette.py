"""Cassettes: what the broker records of a run, what is kept of it, and what plays it again."""

import gzip
import json
import os
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.responses import JSONResponse

from infra.core.errors import Invalid
from infra.core.redaction import Redactor
from infra.core.run import Limits
from infra.wire import Assignment
from runner.answer_text import Moving
from runner.asked import Reader, asked_places
from runner.broker import Broker
from runner.cassette import UNCHANGED, header_of, pack, spent_of, unpack
from runner.loopback import listen
from runner.player import Player
from runner.recorder import Ended, Recorder
from tests.runner.test_broker import MODEL, agent_of, body, broker_for, clock, credentials
from tests.runner.upstream import Upstream, event, failure, say, serving, streaming, use

SECRET = "the-model-repeats-this-secret-93"
PLACES = {"tree": "/tmp/x/run-1.aaaaaaaa/tree", "home": "/tmp/x/run-1.aaaaaaaa/home"}
ASSIGNMENT = Assignment(
    run_id="run-1",
    owner="o",
    repo="r",
    git_url="http://127.0.0.1/o/r.git",
    api_url="",
    ref="main",
    base_sha="0" * 40,
    branch="claude/run-1",
    title="t",
    prompt=f"Fix it. {SECRET}",
    closes=0,
    requested_by="a",
    author_name="n",
    author_email="e",
    model=MODEL,
    limits=Limits(budget_micros=1, wall_seconds=1, idle_seconds=1, max_turns=1),
    run_url="",
    rehearsal=False,
)


def recorder(**more) -> Recorder:
    return Recorder(Reader(asked_places(PLACES)), clock, **more)


def packed(tape: Recorder, broker: Broker, *, redactor=None) -> bytes:
    masking = redactor or Redactor()
    header = header_of(
        ASSIGNMENT,
        redactor=masking,
        allowed_models=[MODEL],
        surcharge_percent=0,
        agent="test 1",
        at=clock(),
        places=PLACES,
    )
    spent = spent_of(broker.ledger)
    return pack(header, tape, redactor=masking, failure="", tree=UNCHANGED, files=(), spent=spent)


@asynccontextmanager
async def recording(upstream: Upstream, **more):
    tape = recorder(**more)
    async with broker_for(upstream.url, MODEL, recorder=tape) as broker, agent_of(broker) as agent:
        yield tape, broker, agent


@asynccontextmanager
async def playing(content: bytes, places=PLACES):
    cassette = unpack(content)
    moves = {path: places[name] for name, path in PLACES.items()}
    player = Player(exchanges=cassette.exchanges, reader=Reader(asked_places(places)), rewriter=Moving(moves))
    listener = await listen(player)
    try:
        url = f"http://127.0.0.1:{listener.port}"
        async with broker_for(url, credentials=credentials(url)) as broker, agent_of(broker) as agent:
            yield player, broker, agent
    finally:
        await listener.close()


@pytest.fixture
async def upstream():
    async with serving(Upstream()) as served:
        yield served


def turn(*said: str) -> list[dict]:
    return [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(said)]


async def test_what_was_recorded_is_played_to_the_byte(upstream):
    upstream.play([say("One."), use("Bash", command="ls")], [say("Two, Grüße 🎈.")])
    asked = [body(messages=turn("Hi")), body(messages=turn("Hi", "One.", "a.txt")), body("claude-opus-5-5")]
    async with recording(upstream) as (tape, broker, agent):
        first = [await agent.post("/v1/messages?beta=true", json=each) for each in asked]
        content = packed(tape, broker)
    async with playing(content) as (player, again, agent):
        second = [await agent.post("/v1/messages?beta=true", json=each) for each in asked[:2]]
    assert [answer.content for answer in second] == [answer.content for answer in first[:2]]
    assert [answer.headers["content-type"] for answer in second] == [each.headers["content-type"] for each in first[:2]]
    assert (player.alike, player.differences, player.missing, player.unasked) == (2, [], 0, 0)
    assert spent_of(again.ledger) == spent_of(broker.ledger)
    assert len(unpack(content).exchanges) == 2  # what the broker refused was never asked


async def test_the_borders_between_chunks_are_kept(upstream):
    parts = [
        b'event: ping\ndata: {"type": "p',
        b'ing"}\n\nevent: ping\n',
        'data: {"a": "Grü'.encode()[:-1],
        b'\xbc"}\n\n',
    ]
    upstream.answer = lambda _: streaming(parts, pause=0.02)
    async with recording(upstream) as (tape, broker, agent):
        await agent.post("/v1/messages", json=body())
        heard = [chunk for _, chunk in tape.takes[0].chunks]
        (exchange,) = unpack(packed(tape, broker)).exchanges
    assert len(heard) == len(exchange.chunks) == 4
    assert "".join(chunk.text for chunk in exchange.chunks).encode() == b"".join(parts)
    assert [chunk.text for chunk in exchange.chunks][:2] == [part.decode() for part in parts[:2]]


async def test_errors_and_broken_streams_are_played_as_they_were(upstream):
    async def fall():
        raise ConnectionAbortedError("the test cuts the stream")

    answers = iter(
        [failure(529, "overloaded_error", "busy", retry_after="3"), streaming([b"event: ping\n"], then=fall)]
    )
    upstream.answer = lambda _: next(answers, [say("At last.")])
    async with recording(upstream) as (tape, broker, agent):
        await agent.post("/v1/messages", json=body())
        with pytest.raises(httpx.RemoteProtocolError):
            await agent.post("/v1/messages", json=body())
        await agent.post("/v1/messages", json=body())
        content = packed(tape, broker)
    assert [each.ended for each in unpack(content).exchanges] == [Ended.WHOLE, Ended.CUT, Ended.WHOLE]
    async with playing(content) as (_, _, agent):
        busy = await agent.post("/v1/messages", json=body())
        with pytest.raises(httpx.RemoteProtocolError):
            await agent.post("/v1/messages", json=body())
        good = await agent.post("/v1/messages", json=body())
    assert (busy.status_code, busy.headers["retry-after"]) == (529, "3")
    assert "At last." in good.text


async def test_a_server_that_was_away_is_away_again():
    tape = recorder()
    async with broker_for("http://127.0.0.1:9", MODEL, recorder=tape) as broker, agent_of(broker) as agent:
        assert (await agent.post("/v1/messages", json=body())).status_code == 502
        content = packed(tape, broker)
    async with playing(content) as (player, _, agent):
        assert (await agent.post("/v1/messages", json=body())).status_code == 502
    assert player.alike == 1


async def test_no_secret_is_in_a_cassette_and_the_count_says_so(upstream):
    upstream.play([say(f"It is {SECRET}."), use("Bash", command=f"echo {SECRET}")], [say("Done.")])
    async with recording(upstream) as (tape, broker, agent):
        await agent.post("/v1/messages", json=body(messages=turn(f"Find {SECRET}")))
        await agent.post("/v1/messages", json=body(messages=turn("x", "y", f"it printed {SECRET}")))
        content = packed(tape, broker, redactor=Redactor([SECRET]))
    plain = gzip.decompress(content).decode()
    assert SECRET not in plain
    assert broker.token not in plain
    assert "sk-ant-real-key-canary" not in plain
    assert unpack(content).ending.masked == 1


async def test_paths_of_the_recorded_run_become_those_of_the_replay(upstream):
    there = {"tree": "/srv/y/run-2.bbb/tree", "home": "/srv/y/run-2.bbb/home"}
    arguments = json.dumps({"file_path": f"{PLACES['tree']}/a.py"})
    pieces = [arguments[at : at + 7] for at in range(0, len(arguments), 7)]  # no piece holds the whole path
    deltas = [
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": piece})
        for piece in pieces
    ]
    upstream.answer = lambda _: streaming(deltas)
    said = [
        [{"role": "user", "content": "Hi"}],
        [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "Write", "input": {"p": "PLACE/a.py"}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "wrote PLACE/a.py"}]},
        ],
    ]

    def at(place):
        return [json.loads(json.dumps(body(messages=each)).replace("PLACE", place)) for each in said]

    async with recording(upstream) as (tape, broker, agent):
        for each in at(PLACES["tree"]):
            await agent.post("/v1/messages", json=each)
        content = packed(tape, broker)
    async with playing(content, there) as (player, _, agent):
        answers = [(await agent.post("/v1/messages", json=each)).text for each in at(there["tree"])]
    parts = [
        json.loads(line[6:])["delta"]["partial_json"] for line in answers[0].splitlines() if line.startswith("data: ")
    ]
    assert json.loads("".join(parts)) == {"file_path": f"{there['tree']}/a.py"}
    assert len(parts) == len(pieces)
    assert player.alike == 2


async def test_other_words_at_the_same_place_are_answered_and_named(upstream):
    upstream.play([say("One.")], [say("Two.")])
    async with recording(upstream) as (tape, broker, agent):
        await agent.post("/v1/messages", json=body(messages=turn("Hi")))
        await agent.post("/v1/messages", json=body(messages=turn("Hi", "One.", "12 tests passed in 0.31s, pid 77")))
        content = packed(tape, broker)
    async with playing(content) as (player, _, agent):
        await agent.post("/v1/messages", json=body(messages=turn("Hi")))
        answer = await agent.post(
            "/v1/messages", json=body(messages=turn("Hi", "One.", "3 tests failed in 0.44s, pid 9"))
        )
    assert "Two." in answer.text
    (found,) = player.differences
    assert (found.number, player.missing) == (2, 0)
    assert "12 tests passed in <duration>, pid <pid>" in found.recorded
    assert "3 tests failed" in found.asked


async def test_a_question_without_a_place_gets_an_error(upstream):
    async with recording(upstream) as (tape, broker, agent):
        await agent.post("/v1/messages", json=body(messages=turn("Hi")))
        content = packed(tape, broker)
    async with playing(content) as (player, _, agent):
        answer = await agent.post("/v1/messages", json=body(messages=turn("Hi", "One.", "and", "so", "on")))
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
    assert (player.missing, player.unasked, player.differences[0].number) == (1, 1, 0)


async def test_what_differs_between_two_runs_of_one_task_does_not_count():
    reader = Reader(asked_places(PLACES))

    def fingerprint(content, **more):
        return reader.read(
            "/v1/messages", json.dumps(body(messages=[{"role": "user", "content": content}], **more)).encode()
        )

    def result(text):
        return [{"type": "tool_result", "tool_use_id": os.urandom(4).hex(), "content": text}]

    same = fingerprint(result("commit 1a2b3c4d5e on Sat Nov 21 02:15:15 2026 +0000, 3.2 ms, 127.0.0.1:4711, 0x7ffe1"))
    other = fingerprint(result("commit 99887766ff on Mon Dec 1 12:05:05 2025 +0100, 17 ms, 127.0.0.1:80, 0xdeadbeef"))
    assert same.fingerprint == other.fingerprint
    first, second = ({"type": "tool_result", "tool_use_id": name, "content": f"{name} ok"} for name in "ab")
    assert fingerprint([first, second]).fingerprint == fingerprint([second, first]).fingerprint
    extras = fingerprint(
        result("commit 1a2b3c4d5e"), metadata={"user_id": "x"}, system=[{"type": "text", "text": "v2"}]
    )
    assert extras.fingerprint == fingerprint(result("commit 1a2b3c4d5f")).fingerprint
    assert fingerprint(result("2 passed")).fingerprint != fingerprint(result("3 passed")).fingerprint


async def test_a_long_run_is_recorded_as_far_as_there_is_room(upstream):
    upstream.answer = lambda _: [say("word " * 2_000)]
    async with recording(upstream, most_bytes=30_000) as (tape, broker, agent):
        for number in range(5):
            assert (await agent.post("/v1/messages", json=body(messages=turn(f"Hi {number}")))).status_code == 200
        cassette = unpack(packed(tape, broker))
    assert cassette.ending.truncated
    assert 0 < len(cassette.exchanges) < 5
    assert len(cassette.ending.spent) == 5
    assert not cassette.exchanges[-1].complete or len(cassette.exchanges) == 2


async def test_counting_tokens_is_recorded_and_costs_nothing(upstream):
    upstream.answer = lambda _: JSONResponse({"input_tokens": 12})
    async with recording(upstream) as (tape, broker, agent):
        await agent.post("/v1/messages/count_tokens", json=body())
        cassette = unpack(packed(tape, broker))
    assert [each.asked.path for each in cassette.exchanges] == ["/v1/messages/count_tokens"]
    assert cassette.ending.spent == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain",
        gzip.compress(b""),
        gzip.compress(b"{}\n{}\n"),
        gzip.compress(b'{"cassette": 99}\n{}\n'),
        gzip.compress(b"x" * 200)[:-9],
        gzip.compress(b"\0" * (100 * 1024 * 1024)),
    ],
    ids=["empty", "plain", "no lines", "no version", "newer", "cut", "bomb"],
)
def test_what_is_no_cassette_is_refused_with_a_reason(content):
    with pytest.raises(Invalid) as refused:
        unpack(content)
    assert refused.value.code == "cassette_broken"
    assert refused.value.hint
