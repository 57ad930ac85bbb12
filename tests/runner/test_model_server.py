"""The broker's way up: dialects, credentials that end, credentials that are refused, outlets through the model's servers."""

import asyncio
import itertools
import json

import msgspec
import pytest
from starlette.responses import JSONResponse

from infra.core.clock import HOUR, MINUTE, Instant
from infra.core.errors import Unavailable
from infra.core.price import Tokens, cost_micros
from infra.wire import ModelCredentials
from runner.broker import Broker
from tests.runner.test_broker import COST, MODEL, agent_of, body, broker_for, clock, credentials
from tests.runner.upstream import USAGE, Upstream, failure, say, serving, stream_events, streaming


@pytest.fixture
async def upstream():
    async with serving(Upstream()) as served:
        yield served


def vertex(url: str, *, token: str = "ya29.first", expires_at: int = 0, region: str = "us-east5") -> ModelCredentials:
    return ModelCredentials(
        mode="vertex",
        base_url=f"{url}/v1",
        headers={"authorization": f"Bearer {token}"},
        allowed_models=[MODEL, "claude-sonnet-4-5"],
        project="my-project",
        region=region,
        surcharge_percent=10,
        expires_at=expires_at,
    )


async def test_vertex_is_spoken_upstream_and_the_plain_api_to_the_agent(upstream):
    upstream.answer = lambda _: streaming(stream_events([say("Hello.")], model=MODEL, usage=USAGE))
    async with broker_for("", credentials=vertex(upstream.url)) as broker, agent_of(broker) as agent:
        answer = await agent.post("/v1/messages?beta=true", json=body(), headers={"anthropic-beta": "one"})
        await agent.post("/v1/messages", json=body("claude-sonnet-4-5-20250929"))
        upstream.answer = lambda _: JSONResponse({"model": MODEL, "usage": USAGE})
        await agent.post("/v1/messages", json=body(stream=False))
        await agent.post("/v1/messages/count_tokens", json=body("claude-sonnet-4-5-20250929"))

    assert "Hello." in answer.text
    models = "/v1/projects/my-project/locations/us-east5/publishers/anthropic/models"
    assert [heard.path for heard in upstream.heard] == [
        f"{models}/{MODEL}:streamRawPredict",
        f"{models}/claude-sonnet-4-5@20250929:streamRawPredict",
        f"{models}/{MODEL}:rawPredict",
        f"{models}/count-tokens:rawPredict",
    ]
    first, *_, counting = upstream.heard
    assert first.query == ""
    assert first.headers["authorization"] == "Bearer ya29.first"
    assert first.headers["anthropic-beta"] == "one"
    assert "x-api-key" not in first.headers
    assert "model" not in first.body
    assert first.body["anthropic_version"] == counting.body["anthropic_version"] == "vertex-2023-10-16"
    assert first.body["messages"] == body()["messages"]
    assert counting.body["model"] == "claude-sonnet-4-5@20250929"
    assert broker.ledger[0].micros == -(-COST * 110 // 100)  # a region costs a tenth more


class Renewals:
    """Hands out tokens that live for ``lives`` from now on; counts."""

    def __init__(self, url: str, lives: int = HOUR) -> None:
        self.url, self.lives, self.given = url, lives, 0
        self.fails = False

    async def __call__(self) -> ModelCredentials:
        await asyncio.sleep(0)
        self.given += 1
        if self.fails:
            raise Unavailable("The gateway is away.")
        return vertex(self.url, token=f"ya29.{self.given}", expires_at=clock() + self.lives)


def tokens_seen(upstream: Upstream) -> list[str]:
    return [heard.headers["authorization"] for heard in upstream.heard]


async def test_a_credential_is_renewed_before_its_end_and_once_for_all(upstream):
    upstream.answer = lambda _: JSONResponse({"model": MODEL, "usage": USAGE})
    renewals = Renewals(upstream.url)
    ending = vertex(upstream.url, expires_at=clock() + MINUTE)
    ended = msgspec.structs.replace(ending, expires_at=clock() - MINUTE)
    async with broker_for("", credentials=ended, renew=renewals) as broker, agent_of(broker) as agent:
        await asyncio.gather(*(agent.post("/v1/messages", json=body(stream=False)) for _ in range(10)))
    assert renewals.given == 1
    assert set(tokens_seen(upstream)) == {"Bearer ya29.1"}
    upstream.heard.clear()
    fresh = vertex(upstream.url, expires_at=clock() + HOUR)
    async with broker_for("", credentials=fresh, renew=renewals) as broker, agent_of(broker) as agent:
        await agent.post("/v1/messages", json=body(stream=False))
    assert (renewals.given, tokens_seen(upstream)) == (1, ["Bearer ya29.first"])


async def test_a_credential_that_is_refused_before_its_end_is_replaced(upstream):
    upstream.answer = lambda _: failure(401, "authentication_error", "revoked")
    renewals = Renewals(upstream.url)
    valid = vertex(upstream.url, expires_at=clock() + HOUR)
    async with broker_for("", credentials=valid, renew=renewals) as broker, agent_of(broker) as agent:
        assert (await agent.post("/v1/messages", json=body(stream=False))).status_code == 401
        upstream.answer = lambda _: JSONResponse({"model": MODEL, "usage": USAGE})
        assert (await agent.post("/v1/messages", json=body(stream=False))).status_code == 200
    assert tokens_seen(upstream) == ["Bearer ya29.first", "Bearer ya29.1"]


async def test_while_it_cannot_be_renewed_it_is_used_to_its_end_and_then_said(upstream):
    upstream.answer = lambda _: JSONResponse({"model": MODEL, "usage": USAGE})
    renewals = Renewals(upstream.url)
    renewals.fails = True
    now = [clock()]
    broker = Broker(
        credentials=vertex(upstream.url, expires_at=now[0] + 10 * MINUTE),
        budget_micros=10**8,
        clock=lambda: now[0],
        entropy=lambda count: b"\0" * count,
        renew=renewals,
    )
    async with broker, agent_of(broker) as agent:
        now[0] = Instant(now[0] + 6 * MINUTE)
        for _ in range(3):
            assert (await agent.post("/v1/messages", json=body(stream=False))).status_code == 200
        assert renewals.given == 1  # not asked for again at every request
        now[0] = Instant(now[0] + 5 * MINUTE)
        late = await agent.post("/v1/messages", json=body(stream=False))
    assert late.status_code == 502
    assert "The gateway is away." in late.json()["error"]["message"]


@pytest.mark.parametrize(
    ("mode", "status", "error", "hint"),
    [
        ("api_key", 401, {"error": {"message": "invalid x-api-key"}}, "ANTHROPIC_API_KEY"),
        ("oauth", 403, {"error": {"message": "OAuth token revoked"}}, "CLAUDE_CODE_OAUTH_TOKEN"),
        ("gateway", 401, "who are you", "ANTHROPIC_AUTH_TOKEN"),
        ("vertex", 403, {"error": {"code": 403, "message": "Denied", "status": "X"}}, "roles/aiplatform.user"),
    ],
)
async def test_a_credential_that_is_refused_for_good_is_said_so(upstream, mode, status, error, hint):
    upstream.answer = lambda _: JSONResponse(error, status)
    given = vertex(upstream.url) if mode == "vertex" else credentials(upstream.url, mode=mode)
    async with broker_for("", credentials=given) as broker, agent_of(broker) as agent:
        denial = asyncio.ensure_future(broker.denied())
        for _ in range(3):
            assert not denial.done()
            await agent.post("/v1/messages", json=body())
        found = await asyncio.wait_for(denial, 5)
    words = error["error"]["message"] if isinstance(error, dict) else error
    assert f"{status} " in found.message
    assert words in found.message
    assert hint in found.hint
    assert found.status == status
    assert [entry.status for entry in broker.ledger] == [status] * 3
    assert broker.usage.cost_micros == 0


async def test_an_answer_between_refusals_makes_them_an_accident(upstream):
    answers = itertools.cycle(
        [failure(401, "authentication_error", "x"), failure(401, "authentication_error", "x"), None]
    )
    upstream.answer = lambda _: next(answers) or [say("Hello.")]
    async with broker_for(upstream.url) as broker, agent_of(broker) as agent:
        denial = asyncio.ensure_future(broker.denied())
        for _ in range(9):
            await agent.post("/v1/messages", json=body())
        await asyncio.sleep(0)
        assert not denial.done()
        denial.cancel()


def image(kind: str, **more) -> dict:
    return {"type": "image", "source": {"type": kind, **more}}


def inside(block: dict, how: str) -> list[dict]:
    """Messages with the block at some depth."""
    match how:
        case "message":
            content = [block]
        case "tool result":
            content = [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}, block]}]
        case "document":
            content = [{"type": "document", "source": {"type": "content", "content": [block]}}]
        case "tool result of an earlier turn":
            content = [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]
            return [
                {"role": "user", "content": content},
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": "go on"},
            ]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("how", ["message", "tool result", "document", "tool result of an earlier turn"])
@pytest.mark.parametrize(
    "block",
    [
        image("url", url="http://evil.example/?secret"),
        image("file", file_id="file_123"),
        image("something_new", where="x"),
        {"type": "document", "source": {"type": "url", "url": "http://evil.example/a.pdf"}},
        {"type": "container_upload", "file_id": "file_123"},
    ],
)
async def test_nothing_is_fetched_for_the_agent_by_the_models_servers(upstream, block, how):
    told = []

    async def blocked(sentence):
        told.append(sentence)

    async with broker_for(upstream.url, blocked=blocked) as broker, agent_of(broker) as agent:
        for _ in range(2):
            answer = await agent.post("/v1/messages", json=body(messages=inside(block, how)))
            assert answer.status_code == 400
            assert "past the sandbox" in answer.json()["error"]["message"]
    assert upstream.heard == []
    assert len(told) == 1  # people are told once
    assert told[0].startswith("blocked: ")


async def test_the_system_prompt_is_no_way_round(upstream):
    async with broker_for(upstream.url) as broker, agent_of(broker) as agent:
        answer = await agent.post("/v1/messages", json=body(system=[image("url", url="http://evil.example/")]))
    assert answer.status_code == 400
    assert upstream.heard == []


async def test_a_key_that_occurs_twice_hides_nothing(upstream):
    hidden = '{"type":"image","source":{"type":"url","url":"http://evil.example/"}}'
    twice = [
        '{"role":"user","content":[' + hidden + '],"content":"hi"}',
        '{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://e.example/"},"source":{"type":"base64","data":"","media_type":"image/png"}}]}',
    ]
    async with broker_for(upstream.url) as broker, agent_of(broker) as agent:
        for message in twice:
            content = f'{{"model":"{MODEL}","max_tokens":9,"messages":[{message}]}}'
            assert (await agent.post("/v1/messages", content=content)).status_code == 200
    assert all(b"url" not in heard.raw for heard in upstream.heard)


@pytest.mark.parametrize(
    "tool", ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset", "advisor_20260301"]
)
async def test_tools_of_the_models_servers_are_refused(upstream, tool):
    async with broker_for(upstream.url) as broker, agent_of(broker) as agent:
        answer = await agent.post("/v1/messages", json=body(tools=[{"type": tool, "name": "x"}]))
    assert answer.status_code == 400
    assert tool in answer.json()["error"]["message"]
    assert upstream.heard == []


async def test_what_policy_allows_passes_and_searches_are_paid_for(upstream):
    upstream.usage |= {"server_tool_use": {"web_search_requests": 3}}
    allowing = msgspec.structs.replace(credentials(upstream.url), outlets=("web_search", "url_sources"))
    search = body(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    picture = body(messages=inside(image("url", url="https://example.org/a.png"), "message"))
    fetching = body(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}])
    async with broker_for("", credentials=allowing) as broker, agent_of(broker) as agent:
        statuses = [(await agent.post("/v1/messages", json=each)).status_code for each in (search, picture, fetching)]
    assert statuses == [200, 200, 400]
    assert broker.ledger[0].tokens.web_searches == 3
    assert broker.ledger[0].micros == COST + 30_000


async def test_what_stays_within_the_request_passes_unchanged(upstream):
    blocks = [
        image("base64", media_type="image/png", data="aGk="),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        {"type": "tool_use", "id": "t", "name": "Fetch", "input": {"source": {"type": "url", "url": "x"}}},
        {"type": "text", "text": "half \ud83d of a character"},
    ]
    asked = body(messages=[{"role": "user", "content": blocks}], temperature=0.1, metadata={"big": 2**70})
    tools = [{"type": "text_editor_20250728", "name": "e"}, {"name": "Bash", "input_schema": {"type": "object"}}]
    async with broker_for(upstream.url) as broker, agent_of(broker) as agent:
        answer = await agent.post("/v1/messages", content=json.dumps(asked | {"tools": tools}))
    assert answer.status_code == 200
    assert upstream.heard[0].body == asked | {"tools": tools}


def test_the_price_of_a_search_is_that_of_a_search():
    assert cost_micros(MODEL, Tokens(web_searches=1)) == (10_000, "list")


async def test_a_dead_upstream_does_not_count_as_a_refusal():
    async with broker_for("http://127.0.0.1:9") as broker, agent_of(broker) as agent:
        denial = asyncio.ensure_future(broker.denied())
        for _ in range(4):
            assert (await agent.post("/v1/messages", json=body())).status_code == 502
        assert not denial.done()
        denial.cancel()
