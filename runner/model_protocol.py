"""What may go to the model and what comes back, as plain values: requests checked, headers chosen, errors worded. Pure.

The sender is the agent, so every byte is hostile: the body is rebuilt from its parsed top level (a key that occurs twice
cannot mean one thing here and another upstream), and features that would make the model's own servers fetch from the
network, or bill at another rate, are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from infra.core.errors import Forbidden, Invalid
from infra.core.price import canonical_model

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
_SERVER_TOOLS = ("web_search", "web_fetch", "code_execution", "mcp_toolset")


class _Tool(msgspec.Struct, frozen=True):
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request that may be sent. ``body`` is what to send."""

    model: str
    max_tokens: int
    body: bytes


def read_request(body: bytes, allowed_models: Iterable[str]) -> ModelRequest:
    """Raises ``Invalid`` for what the API would not understand or must not do, ``Forbidden`` for a model not allowed.

    An empty list of allowed models allows every model.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        model = msgspec.json.decode(fields["model"], type=str)
        max_tokens = msgspec.json.decode(fields.get("max_tokens", b"0"), type=int)
        tools = msgspec.json.decode(fields.get("tools", b"null"), type=list[_Tool] | None)
    except KeyError:
        raise Invalid("The request names no model.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid("The request is not a JSON object of the Messages API.") from None
    for name, reason in _REFUSED_FIELDS.items():
        if bytes(fields.get(name, b"null")) not in (b"null", b"[]"):
            raise Invalid(f"{name} is not available in this run: {reason}.")
    for tool in tools or ():
        if tool.type is not None and tool.type.startswith(_SERVER_TOOLS):
            raise Invalid(f"The server tool {tool.type} is not available in this run: it would reach past the sandbox.")
    _check_model(model, allowed_models)
    return ModelRequest(model=model, max_tokens=max_tokens, body=msgspec.json.encode(fields))


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
