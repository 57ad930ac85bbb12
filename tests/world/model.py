"""The scripted model as tests use it: scripts as TOML text, a client, and a strict reader of event streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from infra.local.model.library import Library, load_library, parse_script
from infra.local.model.server import ScriptedModel
from infra.local.rehearsal.catalogue import SCRIPTS

KEY = "model-key-for-tests"


def scripts(**texts: str) -> Library:
    """A library of scripts given as TOML, by name."""
    return Library(scripts=tuple((name, parse_script(text, name=name)) for name, text in texts.items()))


def shipped_scripts() -> Library:
    return load_library(SCRIPTS)


@asynccontextmanager
async def scripted_model(library: Library | None = None, *, key: str = KEY) -> AsyncIterator[ScriptedModel]:
    """A running model on a free port; without a library it plays the scripts of the rehearsal."""
    async with ScriptedModel(library or shipped_scripts(), key=key) as model:
        yield model


@asynccontextmanager
async def client_of(model: ScriptedModel, *, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=model.url, headers=headers, timeout=20, verify=False) as client:
        yield client


def request(*messages: dict[str, Any], stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "claude-opus-5-5", "max_tokens": 1000, "messages": list(messages), "stream": stream, **more}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def assistant(message: dict[str, Any]) -> dict[str, Any]:
    """An answer as the next request repeats it."""
    return {"role": "assistant", "content": message["content"]}


def results(message: dict[str, Any], *texts: str, failed: bool = False) -> dict[str, Any]:
    """The results of the tool calls of an answer, in their order."""
    calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    blocks = [
        {"type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed}
        for call, text in zip(calls, texts, strict=True)
    ]
    return {"role": "user", "content": blocks}


def events_in(text: str) -> list[dict[str, Any]]:
    """The events of a stream; anything but ``event: TYPE``, ``data: JSON``, empty line is an error."""
    assert text.endswith("\n\n")
    found = []
    for block in text[:-2].split("\n\n"):
        first, second = block.split("\n")
        data = json.loads(second.removeprefix("data: "))
        assert first == f"event: {data['type']}"
        found.append(data)
    return found


def assemble(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream stands for; checks the order of events and the indexes on the way."""
    assert [event["type"] for event in events[:2]] == ["message_start", "ping"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    message = dict(events[0]["message"])
    assert message["content"] == []
    assert message["stop_reason"] is None
    content: list[dict[str, Any]] = []
    open_block: dict[str, Any] | None = None
    raw = ""
    for event in events[2:-2]:
        if event["type"] == "content_block_start":
            assert open_block is None
            assert event["index"] == len(content)
            open_block, raw = dict(event["content_block"]), ""
        elif event["type"] == "content_block_delta":
            assert open_block is not None
            assert event["index"] == len(content)
            kind = {"text": "text_delta", "tool_use": "input_json_delta"}[open_block["type"]]
            assert event["delta"]["type"] == kind
            raw += event["delta"]["text" if kind == "text_delta" else "partial_json"]
        else:
            assert event == {"type": "content_block_stop", "index": len(content)}
            assert open_block is not None
            content.append(open_block | ({"text": raw} if open_block["type"] == "text" else {"input": json.loads(raw)}))
            open_block = None
    assert open_block is None
    return message | {"content": content, **events[-2]["delta"], "usage": events[-2]["usage"]}
