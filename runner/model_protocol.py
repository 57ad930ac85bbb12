"""What may go to the model and what comes back, as plain values: requests checked, headers chosen, errors worded. Pure.

The sender is the agent, so every byte is hostile: the body is written anew from what was read (a key that occurs twice
cannot mean one thing here and another upstream), and features that would make the model's own servers fetch from the
network, or bill at another rate, are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from infra.core.errors import Forbidden, Invalid
from infra.core.price import canonical_model
from runner.outlets import check_outlets

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The API's own limit. https://platform.claude.com/docs/en/api/overview#request-size-limits"""

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# Credentials are ours to set; framing and encoding belong to each leg.
_NOT_SENT_UP = _HOP_BY_HOP | {
    "host",
    "content-length",
    "accept-encoding",
    "authorization",
    "x-api-key",
    "cookie",
    "forwarded",
    "expect",
}
# Without its target a redirect leads nowhere.
_NOT_SENT_DOWN = _HOP_BY_HOP | {"content-length", "content-encoding", "set-cookie", "location", "alt-svc"}

_REFUSED_FIELDS = {
    "mcp_servers": "remote MCP servers would be called from outside the sandbox",
    "container": "the run has its own machine",
    "speed": "faster answers are billed at another rate",
    "inference_geo": "regional answers are billed at another rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request that may be sent. ``body`` is what to send."""

    model: str
    max_tokens: int
    streamed: bool
    body: bytes


def read_request(
    body: bytes, allowed_models: Iterable[str], allowed_outlets: Collection[str] = frozenset()
) -> ModelRequest:
    """Raises ``Invalid`` for what the API would not understand or must not do, ``Outlet`` for what would make its servers
    reach out without being allowed to, ``Forbidden`` for a model not allowed.

    An empty list of allowed models allows every model.
    """
    fields, encode = _decoded(body)
    model, max_tokens, streamed = fields.get("model"), fields.get("max_tokens", 0), fields.get("stream", False)
    if not isinstance(model, str) or not isinstance(max_tokens, int) or not isinstance(streamed, bool):
        raise Invalid("The request names no model, or its limits are not numbers.")
    for name, reason in _REFUSED_FIELDS.items():
        if fields.get(name) not in (None, []):
            raise Invalid(f"{name} is not available in this run: {reason}.")
    check_outlets(fields, allowed_outlets)
    _check_model(model, allowed_models)
    return ModelRequest(model=model, max_tokens=max_tokens, streamed=streamed, body=encode(fields))


def _decoded(body: bytes) -> tuple[dict[str, Any], Callable[[Any], bytes]]:
    """The request as data, and how to write it again: a key that occurs twice anywhere must not mean one thing here and another
    upstream. Half of a character, which JSON can carry and Claude Code sends when it shortens a text, needs the slower way."""
    try:
        fields, encode = msgspec.json.decode(body), _encoded
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        fields, encode = _slowly_decoded(body), _slowly_encoded
    if not isinstance(fields, dict):
        raise _not_messages()
    return fields, encode


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _slowly_encoded(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _slowly_decoded(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _not_messages() from None


def _refuse_constant(_: str) -> Any:
    raise ValueError


def _not_messages() -> Invalid:
    return Invalid("The request is not a JSON object of the Messages API.")


def _check_model(model: str, allowed_models: Iterable[str]) -> None:
    names = tuple(allowed_models)
    if names and canonical_model(model) not in {canonical_model(name) for name in names}:
        raise Forbidden(f"The model {model[:100]!r} is not allowed in this run. Allowed: {', '.join(names)}.")


def headers_up(received: Iterable[tuple[bytes, bytes]], credentials: Mapping[str, str]) -> list[tuple[str, str]]:
    """End-to-end headers of the agent with the credentials put on. ``anthropic-beta`` of both sides is joined."""
    ours = {name.lower(): value for name, value in credentials.items()}
    sent = [("accept-encoding", "identity")]  # the answer is read while it passes
    for raw_name, raw_value in received:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "anthropic-beta" and name in ours:
            ours[name] = f"{value},{ours[name]}"
        elif name not in _NOT_SENT_UP and name not in ours:
            sent.append((name, value))
    return [*sent, *ours.items()]


def headers_down(received: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The upstream's headers without those that belong to its own connection."""
    return [(name.lower(), value) for name, value in received if name.decode("latin-1").lower() not in _NOT_SENT_DOWN]


def error_body(kind: str, message: str) -> bytes:
    """An error in the API's own shape. https://platform.claude.com/docs/en/api/errors"""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})


def error_event(kind: str, message: str) -> bytes:
    """The same as the last event of a stream."""
    return b"event: error\ndata: " + error_body(kind, message) + b"\n\n"
