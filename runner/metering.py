"""Reads what an answer used from the answer itself, while it passes. Pure: bytes in, tokens out.

A stream tells its input tokens first (``message_start``) and the final, cumulative figures last (``message_delta``); until
those came, the output is estimated from the text seen, so that a stream that is cut is still counted.
https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import msgspec

from infra.core.price import Tokens

_MAX_EVENT_BYTES = 4 * 1024 * 1024
_MAX_JSON_BYTES = 32 * 1024 * 1024

_BYTES_PER_TOKEN = 3
"""Low on purpose: code and JSON run at 3 to 4 bytes a token, and an estimate should not be under the truth."""


class _CacheCreation(msgspec.Struct, frozen=True):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _ServerTools(msgspec.Struct, frozen=True):
    web_search_requests: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    server_tool_use: _ServerTools | None = None


class _Message(msgspec.Struct, frozen=True):
    model: str = ""
    usage: _Usage | None = None


class _Delta(msgspec.Struct, frozen=True):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _Event(msgspec.Struct, frozen=True):
    type: str = ""
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


class Meter(Protocol):
    """``model`` is the one that answered ("" while unknown), ``seen`` says whether any usage was read, ``complete`` whether
    the figures are final."""

    model: str
    seen: bool
    complete: bool

    def feed(self, chunk: bytes) -> None: ...

    @property
    def tokens(self) -> Tokens: ...


def _merge(before: Tokens, usage: _Usage) -> Tokens:
    """Figures are cumulative; absent ones keep their value. Cache writes of unknown length count as five-minute ones."""
    split = usage.cache_creation
    written = usage.cache_creation_input_tokens
    one_hour = split.ephemeral_1h_input_tokens if split else before.cache_write_1h
    five_minutes = split.ephemeral_5m_input_tokens if split else before.cache_write_5m
    if written is not None:
        five_minutes = max(written - one_hour, 0)
    return Tokens(
        input=before.input if usage.input_tokens is None else max(usage.input_tokens, 0),
        output=before.output if usage.output_tokens is None else max(usage.output_tokens, 0),
        cache_read=before.cache_read
        if usage.cache_read_input_tokens is None
        else max(usage.cache_read_input_tokens, 0),
        cache_write_5m=max(five_minutes, 0),
        cache_write_1h=max(one_hour, 0),
        web_searches=max(
            (usage.server_tool_use and usage.server_tool_use.web_search_requests) or 0, before.web_searches
        ),
    )


class StreamMeter:
    """Meters server-sent events fed in any pieces. Lines that are not understood are skipped; memory is bounded."""

    def __init__(self) -> None:
        self.model = ""
        self.seen = False
        self.complete = False
        self._told = Tokens()
        self._text_bytes = 0
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._decode = msgspec.json.Decoder(_Event).decode

    @property
    def at_event_end(self) -> bool:
        """Whether all bytes fed so far form whole events."""
        return not self._line and not self._data

    @property
    def tokens(self) -> Tokens:
        if self.complete:
            return self._told
        estimated = -(-self._text_bytes // _BYTES_PER_TOKEN)
        return replace(self._told, output=max(self._told.output, estimated))

    def feed(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._take(bytes(self._line) + line if self._line else line)
            self._line.clear()
        if len(self._line) + len(rest) <= _MAX_EVENT_BYTES:
            self._line += rest

    def _take(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        if not line:
            self._dispatch()
        elif line.startswith(b"data:") and self._size + len(line) <= _MAX_EVENT_BYTES:
            self._data.append(line[5:])
            self._size += len(line)

    def _dispatch(self) -> None:
        data, self._data, self._size = self._data, [], 0
        if not data:
            return
        try:
            event = self._decode(b"\n".join(data))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self._learn(event)

    def _learn(self, event: _Event) -> None:
        if event.type == "message_start" and event.message is not None:
            self.model = event.message.model
            self._count(event.message.usage)
        elif event.type == "message_delta":
            self._count(event.usage)
            self.complete = event.usage is not None and event.usage.output_tokens is not None
        elif event.type == "content_block_delta" and event.delta is not None:
            delta = event.delta
            self._text_bytes += len((delta.text + delta.thinking + delta.partial_json).encode("utf-8", "replace"))

    def _count(self, usage: _Usage | None) -> None:
        if usage is not None:
            self._told = _merge(self._told, usage)
            self.seen = True


class JsonMeter:
    """Meters an answer that is one JSON document; known only once the whole of it came."""

    def __init__(self) -> None:
        self.model = ""
        self.seen = False
        self.complete = False
        self._told = Tokens()
        self._body = bytearray()

    @property
    def tokens(self) -> Tokens:
        return self._told

    def feed(self, chunk: bytes) -> None:
        if len(self._body) + len(chunk) <= _MAX_JSON_BYTES:
            self._body += chunk
        if not chunk.rstrip().endswith(b"}"):
            return
        try:
            message = msgspec.json.decode(bytes(self._body), type=_Message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if message.usage is not None:
            self.model, self._told = message.model, _merge(Tokens(), message.usage)
            self.seen = self.complete = True


def meter_for(content_type: str) -> Meter:
    return StreamMeter() if content_type.lower().startswith("text/event-stream") else JsonMeter()
