"""The edge: which address leads where, and a body that comes in pieces, too slowly or not at all."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from dispatcher import call
from infra.core.errors import Invalid, TooLarge


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "unknown_path"),
        ("GET", "/health/", 404, "unknown_path"),
        ("GET", "/webhook/github", 405, "method_not_allowed"),
        ("GET", "/api/runs/{run_id}", 401, "missing_credentials"),
        ("DELETE", "/api/runs/{run_id}", 405, "method_not_allowed"),
    ],
)
async def test_an_address_is_found_by_path_and_method(plane, method, path, status, code):
    answer = await plane.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_path_that_looks_like_a_pattern_is_a_name_like_any_other(plane):
    answer = await plane.http.get("/api/runs/{run_id}", headers=await plane.key())
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_run_id")


async def test_each_answer_has_an_id_of_its_own_or_the_front_end_s_trace(plane):
    first, second = [(await plane.http.get("/health")).headers["x-request-id"] for _ in range(2)]
    assert first != second
    trace = "0af7651916cd43dd8448eb211c80319c"
    traced = await plane.http.get("/health", headers={"x-cloud-trace-context": f"{trace}/1;o=1"})
    assert traced.headers["x-request-id"] == trace


async def body_of(messages, limit=100):
    messages = iter(messages)

    async def receive():
        message = next(messages, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    return await call.Call(request, None, "request").body(limit)


def piece(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_the_same_in_one_piece_or_many():
    assert await body_of([piece(b"hello", more=False)]) == b"hello"
    assert await body_of([piece(b"he", more=True), piece(b"", more=True), piece(b"llo", more=False)]) == b"hello"
    assert await body_of([{"type": "http.request"}]) == b""


async def test_a_body_over_the_limit_is_not_read_to_its_end():
    with pytest.raises(TooLarge):
        await body_of([piece(b"x" * 60, more=True), piece(b"x" * 41, more=True)])


async def test_a_body_that_stops_coming_is_given_up(monkeypatch):
    monkeypatch.setattr(call, "BODY_SECONDS", 0.05)
    with pytest.raises(Invalid) as slow:
        await body_of([piece(b"x", more=True)])
    assert slow.value.code == "slow_body"
    with pytest.raises(ClientDisconnect):
        await body_of([piece(b"x", more=True), {"type": "http.disconnect"}])
