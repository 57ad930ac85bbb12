"""A model server for tests: real HTTP on loopback, answers scripted by the test, everything it heard kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runner.loopback import listen

USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 30,
}


def say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def use(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments}


def event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def stream_events(blocks: list[dict[str, Any]], *, model: str, usage: dict[str, Any], tag: str = "") -> list[bytes]:
    """The events of a streamed answer, in the API's order."""
    start = {**usage, "output_tokens": 1}
    message = {"id": f"msg_{tag}", "type": "message", "role": "assistant", "model": model, "content": []}
    events = [event("message_start", message={**message, "stop_reason": None, "usage": start}), event("ping")]
    stop = "end_turn"
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            opening: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            stop = "tool_use"
            opening = {"type": "tool_use", "id": f"toolu_{tag}_{index}", "name": block["name"], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events += [
            event("content_block_start", index=index, content_block=opening),
            event("content_block_delta", index=index, delta=delta),
            event("content_block_stop", index=index),
        ]
    events.append(event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=usage))
    events.append(event("message_stop"))
    return events


Answer = Callable[[dict[str, Any]], Response | list[dict[str, Any]]]


@dataclass
class Heard:
    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes


@dataclass
class Upstream:
    """``answer`` maps a request body to content blocks, or to a whole response."""

    answer: Answer = lambda _: [say("Hello.")]
    usage: dict[str, Any] = field(default_factory=lambda: dict(USAGE))
    heard: list[Heard] = field(default_factory=list)
    url: str = ""

    def play(self, *turns: list[dict[str, Any]]) -> None:
        """Answers the n-th request of a conversation with the n-th turn, however often it is asked."""

        def turn(body: dict[str, Any]) -> list[dict[str, Any]]:
            said = sum(message["role"] == "assistant" for message in body["messages"])
            return turns[min(said, len(turns) - 1)]

        self.answer = turn

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        body = json.loads(raw or b"{}")
        self.heard.append(Heard(request.url.path, request.url.query, dict(request.headers), body, raw))
        answered = self.answer(body)
        await (answered if isinstance(answered, Response) else self._message(answered, body))(scope, receive, send)

    def _message(self, blocks: list[dict[str, Any]], body: dict[str, Any]) -> Response:
        events = stream_events(blocks, model=body["model"], usage=self.usage, tag=str(len(self.heard)))
        return streaming(events)


def streaming(events: list[bytes], *, pause: float = 0.0, then: Callable[[], Any] | None = None) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for part in events:
            yield part
            if pause:
                await asyncio.sleep(pause)
        if then is not None:
            await then()

    return StreamingResponse(parts(), media_type="text/event-stream", headers={"request-id": "req_upstream"})


def failure(status: int, kind: str, message: str, **headers: str) -> Response:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(body, status_code=status, media_type="application/json", headers=names)


@asynccontextmanager
async def serving(upstream: Upstream) -> AsyncIterator[Upstream]:
    listener = await listen(upstream)
    upstream.url = f"http://127.0.0.1:{listener.port}"
    try:
        yield upstream
    finally:
        await listener.close()
