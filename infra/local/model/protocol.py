"""Answers in the form of the Messages API: one JSON message, or server-sent events.

https://docs.claude.com/en/api/messages-streaming gives the order of events: message_start, ping, for each block
content_block_start, its deltas, content_block_stop; then message_delta with the final usage, message_stop.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from infra.local.model.answer import Answer, Block, Text, ToolUse
from infra.local.model.tokens import Usage

Event = dict[str, Any]
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def message_id(request: bytes) -> str:
    """Made from the request, so the same request gets the same ids; ``script`` in it says where it comes from."""
    return f"msg_script_{hashlib.sha256(request).hexdigest()[:24]}"


def message(answer: Answer, *, identity: str, model: str, usage: Usage) -> dict[str, Any]:
    """The whole message, for requests without a stream."""
    return {
        **_envelope(identity, model),
        "content": [_whole(block, identity, at) for at, block in enumerate(answer.blocks)],
        "stop_reason": answer.stop_reason,
        "usage": _usage(usage),
    }


def events(answer: Answer, *, identity: str, model: str, usage: Usage) -> Iterator[Event]:
    started = {**_usage(usage), "output_tokens": 1}
    yield {"type": "message_start", "message": {**_envelope(identity, model), "usage": started}}
    yield {"type": "ping"}
    for at, block in enumerate(answer.blocks):
        yield {"type": "content_block_start", "index": at, "content_block": _empty(block, identity, at)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": at, "delta": delta}
        yield {"type": "content_block_stop", "index": at}
    ending = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": _usage(usage)}
    yield {"type": "message_stop"}


def frame(event: Event) -> bytes:
    """One event as text/event-stream."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def error(status: int, text: str, *, request_id: str, error_type: str = "") -> Event:
    kind = error_type or _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": request_id}


def _envelope(identity: str, model: str) -> dict[str, Any]:
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _empty(block: Block, identity: str, at: int) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": ""}
        case ToolUse():
            return {"type": "tool_use", "id": _call_id(identity, at), "name": block.name, "input": {}}


def _whole(block: Block, identity: str, at: int) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case ToolUse():
            return {**_empty(block, identity, at), "input": block.input}


def _deltas(block: Block) -> Iterator[dict[str, Any]]:
    match block:
        case Text():
            yield from ({"type": "text_delta", "text": piece} for piece in block.pieces)
        case ToolUse():
            # The API begins each tool input with an empty delta.
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in ("", *block.deltas))


def _call_id(identity: str, at: int) -> str:
    return f"toolu_script_{identity.removeprefix('msg_script_')[:20]}_{at}"


def _usage(usage: Usage) -> dict[str, Any]:
    five_minutes, hour = (0, usage.cache_write) if usage.long_lived else (usage.cache_write, 0)
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": usage.output,
        "service_tier": "standard",
    }
