"""The broker between an agent and a model server, both over real sockets."""

import asyncio
import itertools
import json
import os
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from infra.core.clock import Instant
from infra.core.errors import Invalid
from infra.core.price import Tokens, cost_micros
from infra.wire import ModelCredentials
from runner.broker import Broker, BudgetNotice
from runner.metering import StreamMeter
from tests.runner.upstream import USAGE, Upstream, event, failure, say, serving, stream_events, streaming
from tests.runner.waiting import until

KEY = "sk-ant-real-key-canary"
MODEL = "claude-sonnet-5-5"
DOLLAR = 1_000_000
COST, _ = cost_micros(MODEL, Tokens(input=10, output=30, cache_read=100, cache_write_5m=20))


def clock() -> Instant:
    return Instant(int(time.time() * 1000))


def credentials(upstream_url: str, *models: str, mode: str = "api_key", **headers: str) -> ModelCredentials:
    named = {name.replace("_", "-"): value for name, value in headers.items()} or {"x-api-key": KEY}
    return ModelCredentials(mode=mode, base_url=upstream_url, headers=named, allowed_models=list(models))


def broker_for(upstream_url: str, *models: str, budget: int = 10 * DOLLAR, notices=None, **more) -> Broker:
    async def notify(notice: BudgetNotice) -> None:
        if notices is not None:
            notices.append(notice)

    return Broker(
        credentials=more.pop("credentials", None) or credentials(upstream_url, *models),
        budget_micros=budget,
        clock=clock,
        entropy=os.urandom,
        notify=notify,
        **more,
    )


def body(model: str = MODEL, *, stream: bool = True, **more) -> dict:
    asked = {"model": model, "max_tokens": 1000, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    return asked | more


@pytest.fixture
async def upstream():
    async with serving(Upstream()) as served:
        yield served


@pytest.fixture
async def broker(upstream):
    async with broker_for(upstream.url, MODEL, "haiku") as opened:
        yield opened


@pytest.fixture
async def agent(broker):
    async with httpx.AsyncClient(base_url=broker.url, headers={"x-api-key": broker.token}, trust_env=False) as client:
        yield client


async def test_the_real_key_is_put_on_and_the_placeholder_taken_off(upstream, broker, agent):
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "context-management-2025-06-27",
        "x-script-var-cwd": "/a",
        "cookie": "a=b",
    }
    answer = await agent.post("/v1/messages?beta=true", json=body(), headers=headers)

    heard = upstream.heard[0]
    assert answer.status_code == 200
    assert heard.headers["x-api-key"] == KEY
    assert heard.headers["host"] == upstream.url.removeprefix("http://")
    assert (heard.path, heard.query) == ("/v1/messages", "beta=true")
    assert heard.headers["anthropic-version"] == "2023-06-01"
    assert heard.headers["x-script-var-cwd"] == "/a"
    assert "cookie" not in heard.headers
    assert broker.token not in str(heard)
    assert KEY not in answer.text + str(answer.headers) + repr(broker)


async def test_a_subscription_token_goes_with_its_header_and_both_sides_betas(upstream):
    oauth = credentials(upstream.url, mode="oauth", authorization="Bearer real", anthropic_beta="oauth-2025-04-20")
    async with broker_for(upstream.url, credentials=oauth) as broker, httpx.AsyncClient(trust_env=False) as client:
        sent = {"authorization": f"Bearer {broker.token}", "anthropic-beta": "one,two"}
        await client.post(f"{broker.url}/v1/messages", json=body(), headers=sent)
    heard = upstream.heard[0].headers
    assert heard["authorization"] == "Bearer real"
    assert heard["anthropic-beta"] == "one,two,oauth-2025-04-20"
    assert "x-api-key" not in heard


def test_an_access_mode_it_cannot_speak_is_refused_with_what_it_can():
    with pytest.raises(Invalid) as refused:
        broker_for("http://127.0.0.1:1", credentials=credentials("http://127.0.0.1:1", mode="carrier-pigeon"))
    assert "api_key" in refused.value.hint


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"x-api-key": KEY}, {"x-api-key": "ключ".encode()}],
)
async def test_other_callers_are_turned_away_in_the_apis_own_shape(upstream, broker, headers):
    async with httpx.AsyncClient(trust_env=False) as stranger:
        answer = await stranger.post(f"{broker.url}/v1/messages", json=body(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert upstream.heard == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages"),
        ("GET", "/v1/models"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/files"),
        ("POST", "/v1/messages/../files"),
        ("POST", "//evil.example/v1/messages"),
        ("GET", "/"),
        ("PUT", "/v1/messages"),
    ],
)
async def test_nothing_but_messages_is_there(upstream, broker, agent, method, path):
    answer = await agent.request(method, f"{broker.url}{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert broker.refused["not_found_error"] == 1
    assert upstream.heard == []


async def test_the_start_up_probe_is_answered_here(upstream, agent):
    assert (await agent.head("/api/hello")).status_code == 200
    assert (await agent.get("/api/hello")).status_code == 200
    assert upstream.heard == []


async def test_counting_tokens_passes_and_costs_nothing(upstream, broker, agent):
    upstream.answer = lambda _: JSONResponse({"input_tokens": 12})
    answer = await agent.post("/v1/messages/count_tokens", json=body())
    assert answer.json() == {"input_tokens": 12}
    assert broker.ledger == ()


@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-5-5-20261001", "claude-haiku-5-5"])
async def test_allowed_models_pass_under_all_their_names(agent, model):
    assert (await agent.post("/v1/messages", json=body(model))).status_code == 200


async def test_another_model_is_refused_and_the_allowed_ones_named(upstream, broker, agent):
    answer = await agent.post("/v1/messages", json=body("claude-opus-5-5"))
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    assert "claude-sonnet-5-5, haiku" in answer.json()["error"]["message"]
    assert upstream.heard == []
    assert broker.refused["permission_error"] == 1


async def test_a_model_named_twice_is_judged_as_it_is_sent(upstream, agent):
    twice = json.dumps(body("claude-opus-5-5"))[:-1] + f', "model": "{MODEL}"}}'
    sent = await agent.post("/v1/messages", content=twice)
    assert sent.status_code == 200
    assert upstream.heard[0].body["model"] == MODEL
    assert upstream.heard[0].raw.count(b'"model"') == 1
    other_way = json.dumps(body())[:-1] + ', "model": "claude-opus-5-5"}'
    assert (await agent.post("/v1/messages", content=other_way)).status_code == 403


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"model": 7}',
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"model":' + b"[" * 100_000,
        json.dumps(body(mcp_servers=[{"type": "url", "url": "https://evil.example"}])).encode(),
        json.dumps(body(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}])).encode(),
        json.dumps(body(tools=["x"])).encode(),
        json.dumps(body(speed="fast")).encode(),
    ],
)
async def test_what_must_not_or_cannot_be_asked_is_refused_here(upstream, agent, content):
    answer = await agent.post("/v1/messages", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert upstream.heard == []


async def test_ordinary_tools_pass(upstream, agent):
    tools = [{"name": "Bash", "input_schema": {}}, {"type": "custom", "name": "Read"}]
    assert (await agent.post("/v1/messages", json=body(tools=tools))).status_code == 200
    assert upstream.heard[0].body["tools"] == tools


async def test_a_body_over_the_limit_is_refused(agent):
    answer = await agent.post("/v1/messages", content=b"x" * (33 * 1024 * 1024))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"


async def test_usage_is_the_exact_sum_of_the_ledger(upstream, broker, agent):
    await agent.post("/v1/messages", json=body())
    upstream.answer = lambda asked: JSONResponse({"type": "message", "model": asked["model"], "usage": USAGE})
    await agent.post("/v1/messages", json=body("claude-haiku-5-5", stream=False))

    first, second = broker.ledger
    assert (first.model, first.micros, first.counted, first.request_id) == (MODEL, COST, "full", "req_upstream")
    assert first.tokens == Tokens(input=10, output=30, cache_read=100, cache_write_5m=20)
    assert second.model == "claude-haiku-5-5"
    usage = broker.usage
    assert usage.cost_micros == first.micros + second.micros
    assert (usage.turns, usage.input_tokens, usage.output_tokens) == (2, 20, 60)
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.cost_basis) == (200, 40, "metered")


async def test_an_unlisted_model_is_priced_and_marked(upstream):
    async with broker_for(upstream.url) as broker, httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{broker.url}/v1/messages", json=body("next-1"), headers={"x-api-key": broker.token})
    assert broker.ledger[0].price_basis == "unknown"
    assert broker.ledger[0].micros == cost_micros("next-1", broker.ledger[0].tokens)[0]


EVENTS = stream_events([say("Grüße, " * 40), say("b")], model=MODEL, usage=USAGE)


@given(st.lists(st.integers(min_value=0, max_value=len(b"".join(EVENTS)))))
def test_a_stream_is_metered_alike_however_it_is_cut(cuts):
    stream = b"".join(EVENTS)
    places = sorted({0, len(stream), *cuts})
    meter = StreamMeter()
    for begin, end in itertools.pairwise(places):
        meter.feed(stream[begin:end])
    assert meter.tokens == Tokens(input=10, output=30, cache_read=100, cache_write_5m=20)
    assert (meter.complete, meter.model, meter.at_event_end) == (True, MODEL, True)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_a_meter_survives_any_bytes(chunks):
    meter = StreamMeter()
    for chunk in chunks:
        meter.feed(chunk)
    assert meter.tokens.prompt >= 0


def test_a_line_without_end_takes_no_more_memory():
    meter = StreamMeter()
    for _ in range(200):
        meter.feed(b"x" * 100_000)
    meter.feed(b"\n\n" + b"".join(EVENTS))
    assert meter.complete


async def test_the_answer_arrives_as_it_is_spoken(upstream, agent):
    heard_first = asyncio.Event()

    async def rest():
        await asyncio.wait_for(heard_first.wait(), 5)

    upstream.answer = lambda _: streaming(EVENTS[:3], then=rest)
    async with agent.stream("POST", "/v1/messages", json=body()) as answer:
        parts = answer.aiter_bytes()
        assert b"message_start" in await anext(parts)  # while the rest is still to come
        heard_first.set()
        left = b"".join([part async for part in parts])
    assert left.count(b"event:") >= 1 or left == b""


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
async def test_errors_pass_as_they_are(upstream, broker, agent, status):
    upstream.answer = lambda _: failure(
        status, "some_error", "told so", retry_after="7", anthropic_ratelimit_unified_status="rejected"
    )
    answer = await agent.post("/v1/messages", json=body())
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["anthropic-ratelimit-unified-status"] == "rejected"
    assert answer.json() == {"type": "error", "error": {"type": "some_error", "message": "told so"}}
    assert [(entry.status, entry.micros, entry.counted) for entry in broker.ledger] == [(status, 0, "none")]
    assert broker.usage.turns == 0


async def test_an_upstream_that_is_not_there_is_an_error_worth_a_retry():
    async with broker_for("http://127.0.0.1:9") as broker, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{broker.url}/v1/messages", json=body(), headers={"x-api-key": broker.token})
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"
    assert (broker.ledger[0].status, broker.ledger[0].micros) == (0, 0)


async def test_a_redirect_leads_nowhere(upstream, agent):
    upstream.answer = lambda _: Response(status_code=307, headers={"location": "http://evil.example/"})
    answer = await agent.post("/v1/messages", json=body())
    assert "location" not in answer.headers


async def test_a_stream_that_breaks_upstream_breaks_here_and_is_counted(upstream, broker, agent):
    async def fall():
        raise ConnectionAbortedError("the test cuts the stream")

    upstream.answer = lambda _: streaming(EVENTS[:4], then=fall)
    with pytest.raises(httpx.RemoteProtocolError):
        await agent.post("/v1/messages", json=body())
    await until(lambda: broker.ledger)
    (entry,) = broker.ledger
    assert entry.counted == "partial"
    assert entry.tokens.input == 10
    assert entry.tokens.output >= len("Grüße, " * 40) // 4  # estimated, not the 1 that message_start told
    assert broker.usage.cost_micros == entry.micros > 0


async def test_an_agent_that_hangs_up_stops_the_model_and_is_counted(upstream, broker, agent):
    stopped = asyncio.Event()

    async def forever():
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    upstream.answer = lambda _: streaming(EVENTS[:4], then=forever)
    async with agent.stream("POST", "/v1/messages", json=body()) as answer:
        await anext(answer.aiter_bytes())
    await asyncio.wait_for(stopped.wait(), 5)
    await until(lambda: broker.ledger)
    assert broker.ledger[0].counted == "partial"


async def test_an_answer_that_tells_nothing_is_charged_as_reserved(upstream, broker, agent):
    upstream.answer = lambda _: streaming([event("ping")])
    await agent.post("/v1/messages", json=body())
    (entry,) = broker.ledger
    assert entry.counted == "reserved"
    assert entry.micros > 0
    assert broker.usage.cost_basis == "unknown"


async def test_a_used_up_budget_refuses_before_anything_is_sent(upstream):
    notices: list[BudgetNotice] = []
    async with broker_for(upstream.url, budget=30 * COST, notices=notices) as broker, agent_of(broker) as client:
        statuses = [(await client.post("/v1/messages", json=body(max_tokens=20))).status_code for _ in range(40)]
    paid = statuses.count(200)
    assert 25 <= paid <= 30
    assert statuses == [200] * paid + [402] * (40 - paid)
    assert len(upstream.heard) == paid
    assert broker.exhausted
    assert broker.usage.cost_micros == paid * COST <= 30 * COST
    assert [notice.percent for notice in notices][:2] == [80, 90]
    assert "80 %" in notices[0].text


async def test_parallel_requests_cannot_spend_the_same_money(upstream):
    async with broker_for(upstream.url, budget=6 * COST) as broker, agent_of(broker) as client:
        answers = await asyncio.gather(*(client.post("/v1/messages", json=body(max_tokens=30)) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200, 402}
    assert broker.usage.cost_micros <= 6 * COST


async def test_a_stream_that_outgrows_the_budget_is_cut_with_a_reason(upstream):
    stopped = asyncio.Event()
    words = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word " * 60})] * 1000

    async def end():
        stopped.set()

    start = event("message_start", message={"model": MODEL, "usage": {"input_tokens": 1, "output_tokens": 1}})
    upstream.answer = lambda _: streaming([start, *words], pause=0.001, then=end)
    async with broker_for(upstream.url, budget=20_000) as broker, agent_of(broker) as client:
        answer = await client.post("/v1/messages", json=body())
        refused = await client.post("/v1/messages", json=body())
    assert answer.text.endswith("\n\n")
    last = json.loads(answer.text.strip().rpartition("data: ")[2])
    assert last["error"]["type"] == "billing_error"
    assert broker.exhausted
    assert not stopped.is_set()
    assert 20_000 < broker.usage.cost_micros < 22_000  # one chunk over
    assert refused.status_code == 402


def agent_of(broker: Broker) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=broker.url,
        headers={"x-api-key": broker.token},
        trust_env=False,
        limits=httpx.Limits(max_connections=40),
    )


async def test_it_also_listens_on_a_unix_socket(upstream, tmp_path):
    door = tmp_path / "model.sock"
    async with broker_for(upstream.url, socket=door) as broker:
        transport = httpx.AsyncHTTPTransport(uds=str(door))
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            assert (await client.post("/v1/messages", json=body())).status_code == 401
            allowed = await client.post("/v1/messages", json=body(), headers={"x-api-key": broker.token})
    assert allowed.status_code == 200


async def test_closing_ends_open_streams_quickly_and_counts_them(upstream):
    async def forever():
        await asyncio.sleep(60)

    upstream.answer = lambda _: streaming(EVENTS[:4], then=forever)
    broker = broker_for(upstream.url)
    async with broker, agent_of(broker) as client, client.stream("POST", "/v1/messages", json=body()) as answer:
        await anext(answer.aiter_bytes())
        started = time.monotonic()
        await broker.__aexit__(None, None, None)
    assert time.monotonic() - started < 1
    assert broker.ledger[0].counted == "partial"


async def test_tokens_differ_from_run_to_run(upstream):
    tokens = {broker_for(upstream.url).token for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(token) > 30 for token in tokens)


async def test_each_share_of_the_budget_is_told_once_and_the_last_says_stop(upstream):
    notices: list[BudgetNotice] = []
    async with broker_for(upstream.url, budget=100 * COST, notices=notices) as broker, agent_of(broker) as client:
        for _ in range(99):
            assert (await client.post("/v1/messages", json=body(max_tokens=20))).status_code == 200
    assert [notice.percent for notice in notices] == [80, 90, 99]
    assert "Wrap up" in notices[1].text
    assert "Stop now" in notices[2].text
