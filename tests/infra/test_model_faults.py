"""Faults a script can order: error statuses, dropped connections, errors in the stream, silence, slowness."""

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.world.model import assemble, client_of, events_in, request, scripted_model, scripts, user


def faulty(fault):
    return scripts(
        fault=f'match = "go"\n[[turns]]\ntext = "This is a text of several deltas, on purpose."\nfault = {fault}\n'
    )


async def until_dropped(answer):
    """The bytes that came before the connection was dropped; a proper end is an error."""
    received = b""
    try:
        async for chunk in answer.aiter_raw():
            received += chunk
    except httpx.RemoteProtocolError:
        return received
    raise AssertionError("the stream ended properly")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")],
)
async def test_an_error_status_comes_with_headers_and_the_shape_of_the_api(status, kind):
    fault = f'{{ kind = "http", status = {status}, message = "no", headers = {{ retry-after = "7" }} }}'
    async with scripted_model(faulty(fault)) as model, client_of(model) as client:
        for stream in (True, False):
            answer = await client.post("/v1/messages", json=request(user("go"), stream=stream))
            assert answer.status_code == status
            assert answer.headers["retry-after"] == "7"
            assert answer.json()["error"] == {"type": kind, "message": "no"}
        assert [call.status for call in model.calls] == [status, status]


async def test_a_counted_fault_ends_per_conversation():
    library = faulty('{ kind = "http", status = 529, times = 2 }')
    async with scripted_model(library) as model, client_of(model) as client:
        for session in ("one", "two"):
            headers = {"x-claude-code-session-id": session}
            answers = [await client.post("/v1/messages", json=request(user("go")), headers=headers) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [529, 529, 200, 200]


async def test_a_cut_stream_drops_the_connection_after_so_many_events():
    async with scripted_model(faulty('{ kind = "cut", after = 4 }')) as model, client_of(model) as client:
        async with client.stream("POST", "/v1/messages", json=request(user("go"), stream=True)) as answer:
            assert answer.status_code == 200
            received = await until_dropped(answer)
        kinds = [event["type"] for event in events_in(received.decode())]
        assert kinds == ["message_start", "ping", "content_block_start", "content_block_delta"]
        assert (await client.get("/api/hello")).status_code == 200


async def test_an_error_event_ends_the_stream():
    fault = '{ kind = "error-event", after = 3, error_type = "api_error", message = "broken" }'
    async with scripted_model(faulty(fault)) as model, client_of(model) as client:
        answer = await client.post("/v1/messages", json=request(user("go"), stream=True))
        events = events_in(answer.text)
        assert len(events) == 4
        assert events[-1]["error"] == {"type": "api_error", "message": "broken"}
        assert (await client.post("/v1/messages", json=request(user("go")))).status_code == 500


@pytest.mark.parametrize("fault", ['{ kind = "hang", seconds = 0.2 }', '{ kind = "hang", seconds = 0.2, after = 3 }'])
async def test_silence_before_the_headers_or_in_the_stream_then_it_goes_on(fault):
    async with scripted_model(faulty(fault)) as model, client_of(model) as client:
        started = time.monotonic()
        async with client.stream("POST", "/v1/messages", json=request(user("go"), stream=True)) as answer:
            headers_after = time.monotonic() - started
            await answer.aread()
        assert ("after" in fault) == (headers_after < 0.15)
        assert time.monotonic() - started >= 0.19
        assert assemble(events_in(answer.text))["stop_reason"] == "end_turn"


async def test_a_slow_stream_pauses_before_each_event():
    async with scripted_model(faulty('{ kind = "slow", delay_ms = 20 }')) as model, client_of(model) as client:
        started = time.monotonic()
        answer = await client.post("/v1/messages", json=request(user("go"), stream=True))
        assert time.monotonic() - started >= 0.018 * len(events_in(answer.text))


async def test_the_server_ends_at_once_although_a_script_is_hanging():
    async with asyncio.timeout(10), AsyncExitStack() as stack:
        async with scripted_model(faulty('{ kind = "hang", seconds = 600, after = 2 }')) as model:
            client = await stack.enter_async_context(client_of(model))
            body = request(user("go"), stream=True)
            answer = await stack.enter_async_context(client.stream("POST", "/v1/messages", json=body))
        await until_dropped(answer)
