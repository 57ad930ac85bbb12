"""The wire: order of events, ids, usage, authentication and refusals, as the Messages API has them."""

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.model.app import MessagesApi, create_app
from infra.local.model.director import NOTICE
from infra.local.model.library import Library
from infra.local.model.script import Script, Turn
from tests.world.model import (
    KEY,
    assemble,
    assistant,
    client_of,
    events_in,
    request,
    results,
    scripted_model,
    scripts,
    user,
)

PLAY = """
match = "play"
[[turns]]
text = "I list the files, and I need some more words than fit into one delta."
tools = [{ name = "Bash", input = { command = "ls -la /a/long/path/that/needs/more/than/one/delta" } },
         { name = "Read", input = { file_path = "${cwd}/a" } }]
[[turns]]
text = "Done."
"""
IN_REPO = {"role": "system", "content": "# Environment\n - Primary working directory: /srv/repo\n - Platform: linux"}


@pytest.fixture
async def model():
    async with scripted_model(scripts(play=PLAY)) as running:
        yield running


@pytest.fixture
async def client(model):
    async with client_of(model) as connected:
        yield connected


async def streamed(client, body):
    answer = await client.post("/v1/messages", params={"beta": "true"}, json=body | {"stream": True})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    return events_in(answer.text)


async def test_a_stream_has_the_documented_order_and_several_deltas(client):
    events = await streamed(client, request(user("play"), IN_REPO))
    message = assemble(events)
    text, bash, read = message["content"]
    assert text["text"].startswith(NOTICE + "I list the files")
    assert bash["input"] == {"command": "ls -la /a/long/path/that/needs/more/than/one/delta"}
    assert read["input"] == {"file_path": "/srv/repo/a"}
    assert bash["id"] != read["id"]
    assert message["stop_reason"] == "tool_use"
    deltas = [event for event in events if event["type"] == "content_block_delta"]
    assert [sum(delta["index"] == index for delta in deltas) > 1 for index in (0, 1)] == [True, True]


async def test_the_answer_without_a_stream_says_the_same(client):
    body = request(user("play"), IN_REPO)
    whole = (await client.post("/v1/messages", json=body)).json()
    from_stream = assemble(await streamed(client, body))
    ids = {"id"}
    for block, other in zip(whole["content"], from_stream["content"], strict=True):
        assert {key: block[key] for key in block.keys() - ids} == {key: other[key] for key in other.keys() - ids}
    assert whole["stop_reason"] == from_stream["stop_reason"]


async def test_the_same_request_twice_gets_the_same_answer(client):
    body = request(user("play"), IN_REPO)
    assert await streamed(client, body) == await streamed(client, body)
    other = request(user("play again"), IN_REPO)
    assert assemble(await streamed(client, other))["id"] != assemble(await streamed(client, body))["id"]


async def test_usage_counts_plain_input_without_caching(client):
    usage = (await client.post("/v1/messages", json=request(user("play " * 4000), IN_REPO))).json()["usage"]
    assert usage["input_tokens"] > 5000
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (0, 0)
    assert usage["output_tokens"] > 20


@pytest.mark.parametrize(
    ("ttl", "kept_in"), [({}, "ephemeral_5m_input_tokens"), ({"ttl": "1h"}, "ephemeral_1h_input_tokens")]
)
async def test_usage_reads_what_the_request_before_wrote(client, ttl, kept_in):
    marked = {"cache_control": {"type": "ephemeral", **ttl}}
    system = [{"type": "text", "text": "rules " * 2000}]
    question = {"role": "user", "content": [{"type": "text", "text": "play", **marked}]}
    first = (await client.post("/v1/messages", json=request(question, system=[*system, IN_REPO_TEXT]))).json()
    wrote = first["usage"]["cache_creation_input_tokens"]
    assert wrote > 2000
    assert first["usage"]["cache_read_input_tokens"] == 0
    assert first["usage"]["cache_creation"][kept_in] == wrote

    seen = results(first, "a", "b")
    seen["content"][-1] |= marked
    body = request(user("play"), assistant(first), seen, system=[*system, IN_REPO_TEXT])
    second = (await client.post("/v1/messages", json=body)).json()["usage"]
    assert abs(second["cache_read_input_tokens"] - wrote) < 30
    assert 0 < second["cache_creation_input_tokens"] < 300
    assert second["input_tokens"] == 1


IN_REPO_TEXT = {"type": "text", "text": "Working directory: /srv/repo"}


async def test_message_start_has_the_input_and_message_delta_the_final_output(client):
    events = await streamed(client, request(user("play"), IN_REPO))
    started, ended = events[0]["message"]["usage"], events[-2]["usage"]
    assert started["input_tokens"] == ended["input_tokens"]
    assert started["output_tokens"] == 1 < ended["output_tokens"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": KEY}, 200),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"x-api-key": "wrong"}, 401),
        ({"x-api-key": "w\u00f6rong".encode("latin-1")}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({}, 401),
    ],
)
async def test_only_the_key_opens(model, headers, status):
    async with httpx.AsyncClient(base_url=model.url, headers=headers) as client:
        answer = await client.post("/v1/messages", json=request(user("play"), IN_REPO))
        assert answer.status_code == status
        assert (await client.get("/v1/models")).status_code == status
        assert (await client.post("/v1/messages/count_tokens", json=request(user("play")))).status_code == status
    if status == 401:
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["type"] == "authentication_error"
        assert not model.calls


async def test_the_call_log_tells_script_and_turn_and_holds_no_key(client, model):
    await client.post("/v1/messages", json=request(user("play"), IN_REPO), headers={"x-claude-code-session-id": "s1"})
    (call,) = model.calls
    assert (call.script, call.turn, call.status, call.session, call.streamed) == ("play", 0, 200, "s1", False)
    assert KEY not in repr(call)


async def test_the_probe_the_models_and_the_token_count_answer(client):
    assert (await client.head("/api/hello")).status_code == 200
    assert "claude-opus-5-5" in [item["id"] for item in (await client.get("/v1/models")).json()["data"]]
    few = (await client.post("/v1/messages/count_tokens", json=request(user("a")))).json()["input_tokens"]
    many = (await client.post("/v1/messages/count_tokens", json=request(user("a" * 4000)))).json()["input_tokens"]
    assert many - few == pytest.approx(1000, abs=2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"messages": []}', "model: Field required"),
        (b'{"model": "m"}', "messages: Field required"),
        (b'{"model": "m", "messages": []}', "at least one message"),
        (b'{"model": "m", "messages": [1]}', "messages.0"),
        (b'{"model": "m", "messages": [{"role": "king", "content": ""}]}', "messages.0.role"),
        (b'{"model": "m", "messages": [{"role": "user", "content": 1}]}', "messages.0.content"),
    ],
)
async def test_a_wrong_request_is_refused_in_the_shape_of_the_api(client, content, words):
    answer = await client.post("/v1/messages", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert words in answer.json()["error"]["message"]


async def test_unknown_paths_and_methods_are_errors_of_the_api(client):
    assert (await client.get("/v1/nothing")).json()["error"]["type"] == "not_found_error"
    assert (await client.get("/v1/messages")).status_code == 405


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "content", "id"]), inner)
    ),
    max_leaves=12,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "tool_result", "image"])},
    optional={"text": JSON | st.just("play"), "id": JSON, "tool_use_id": JSON, "content": JSON, "cache_control": JSON},
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | JSON, "content": st.lists(BLOCK, max_size=3) | JSON}
)


@settings(max_examples=60, deadline=None)
@given(messages=st.lists(MESSAGE, min_size=1, max_size=4), system=JSON, tools=JSON, stream=st.booleans())
async def test_no_request_however_strange_is_a_server_error(messages, system, tools, stream):
    transport = httpx.ASGITransport(create_app(MessagesApi(scripts(play=PLAY))))
    async with httpx.AsyncClient(base_url="http://model", transport=transport) as client:
        body = json.dumps(request(*messages, stream=stream, system=system, tools=tools))
        answer = await client.post("/v1/messages", content=body)
    assert answer.status_code in (200, 400)


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(st.text(st.characters(exclude_characters="$", exclude_categories=()), min_size=1), min_size=1))
async def test_explicit_pieces_are_the_deltas_whatever_they_hold(pieces):
    script = Script(match="play", turns=(Turn(text=tuple(pieces)),))
    transport = httpx.ASGITransport(create_app(MessagesApi(Library(scripts=(("play", script),)))))
    async with httpx.AsyncClient(base_url="http://model", transport=transport) as client:
        answer = await client.post("/v1/messages", json=request(user("play"), stream=True))
        whole = await client.post("/v1/messages", json=request(user("play")))
    deltas = [event["delta"]["text"] for event in events_in(answer.text) if event["type"] == "content_block_delta"]
    assert deltas == [NOTICE, *pieces]
    assert whole.json()["content"] == [{"type": "text", "text": NOTICE + "".join(pieces)}]


async def test_nesting_at_the_border_of_the_parser_is_no_server_error():
    transport = httpx.ASGITransport(create_app(MessagesApi(scripts(play=PLAY))))
    async with httpx.AsyncClient(base_url="http://model", transport=transport) as client:
        for depth in range(100, 1100, 50):
            nested = "[" * depth + "]" * depth
            body = f'{{"model": "m", "messages": [{{"role": "user", "content": "play"}}], "tools": {nested}}}'
            assert (await client.post("/v1/messages", content=body)).status_code in (200, 400)
