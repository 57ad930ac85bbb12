"""Usage figures estimated from the size of what was sent, with prompt caching as the API accounts for it.

https://docs.claude.com/en/docs/build-with-claude/prompt-caching: what stands before the last ``cache_control`` is cached; of
that, the part the previous request sent too is read, the rest is written; what follows is plain input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.model.answer import Answer, Text, ToolUse

_BYTES_PER_TOKEN = 4
_SMALLEST_CACHE = 1024  # tokens; shorter prompts are not cached


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens. ``long_lived``: the cache is written for an hour instead of five minutes."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    long_lived: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    tokens: int
    sent_before: bool
    cache: str


def estimate(body: Mapping[str, Any], answer: Answer) -> Usage:
    segments = list(_segments(body))
    last = max((at for at, segment in enumerate(segments) if segment.cache), default=-1)
    cached = segments[: last + 1]
    if sum(segment.tokens for segment in cached) < _SMALLEST_CACHE:
        cached = []
    plain = segments[len(cached) :]
    override = answer.usage
    return Usage(
        input=_or(override.input_tokens, max(1, sum(segment.tokens for segment in plain))),
        cache_read=_or(override.cache_read_input_tokens, sum(s.tokens for s in cached if s.sent_before)),
        cache_write=_or(override.cache_creation_input_tokens, sum(s.tokens for s in cached if not s.sent_before)),
        output=_or(override.output_tokens, _output(answer)),
        long_lived=bool(cached) and cached[-1].cache == "1h",
    )


def count(body: Mapping[str, Any]) -> int:
    """Tokens of the whole request, as ``count_tokens`` reports them."""
    return max(1, sum(segment.tokens for segment in _segments(body)))


def _segments(body: Mapping[str, Any]) -> Iterator[_Segment]:
    """Tools, system, messages: the order in which the cache sees them."""
    messages = _items(body.get("messages"))
    answered = max((at for at, item in enumerate(messages) if _role(item) == "assistant"), default=-1)
    for part in (*_items(body.get("tools")), *_items(body.get("system"))):
        yield _segment(part, sent_before=answered >= 0)
    for at, message in enumerate(messages):
        for block in _items(message.get("content") if isinstance(message, dict) else message):
            yield _segment(block, sent_before=at < answered)


def _segment(part: Any, *, sent_before: bool) -> _Segment:
    control = part.get("cache_control") if isinstance(part, dict) else None
    cache = str(control.get("ttl", "5m")) if isinstance(control, dict) else ""
    return _Segment(tokens=_tokens(part), sent_before=sent_before, cache=cache)


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _role(message: Any) -> str:
    return str(message.get("role", "")) if isinstance(message, dict) else ""


def _output(answer: Answer) -> int:
    total = 0
    for block in answer.blocks:
        match block:
            case Text():
                total += _tokens(block.text)
            case ToolUse():
                total += _tokens(block.name) + _tokens("".join(block.deltas))
    return max(1, total)


def _tokens(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def _or(given: int | None, estimated: int) -> int:
    return estimated if given is None else given
