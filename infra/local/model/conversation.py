"""What a request to the Messages API tells: who said what, tool results, and where the agent works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from infra.core.errors import Invalid

# The CLI's environment text, sent as a `role: system` message by current models and in `system` by older ones.
_WORKING_DIRECTORY = re.compile(r"^[ \t]*(?:- )?(?:Primary )?[Ww]orking directory: (\S[^\n]*?)[ \t]*$", re.MULTILINE)
_VARIABLE_HEADER = "x-script-var-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    call_id: str
    text: str
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """``calls``: ids of the tool calls an assistant message makes, in order."""

    role: Literal["user", "assistant", "system"]
    text: str
    calls: tuple[str, ...] = ()
    results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    messages: tuple[Message, ...]
    variables: Mapping[str, str]


def parse_conversation(body: Mapping[str, Any], headers: Iterable[tuple[str, str]]) -> Conversation:
    """Raises ``Invalid`` in the API's own words where the request does not fit."""
    messages = tuple(_message(item, at) for at, item in enumerate(_list(body.get("messages"), "messages")))
    if not messages:
        raise Invalid("messages: at least one message is required")
    environment = "\n".join([_joined(body.get("system", "")), *(m.text for m in messages if m.role == "system")])
    return Conversation(messages=messages, variables=_variables(environment, headers))


def _variables(environment: str, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found = _WORKING_DIRECTORY.search(environment)
    variables = {"cwd": found[1]} if found else {}
    for name, value in headers:
        if name.lower().startswith(_VARIABLE_HEADER):
            variables[name.lower().removeprefix(_VARIABLE_HEADER)] = value
    return variables


def _message(item: Any, at: int) -> Message:
    if not isinstance(item, dict):
        raise Invalid(f"messages.{at}: Input should be an object")
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system"):  # a tuple: a hostile role may be unhashable
        raise Invalid(f"messages.{at}.role: Input should be 'user', 'assistant' or 'system'")
    if not isinstance(content, str | list):
        raise Invalid(f"messages.{at}.content: Input should be a string or an array")
    blocks = list(_blocks(content))
    return Message(
        role=role,
        text=_joined(content),
        calls=tuple(str(block.get("id", "")) for block in blocks if block.get("type") == "tool_use"),
        results=tuple(_result(block) for block in blocks if block.get("type") == "tool_result"),
    )


def _result(block: Mapping[str, Any]) -> ToolResult:
    return ToolResult(
        call_id=str(block.get("tool_use_id", "")),
        text=_joined(block.get("content", "")),
        failed=block.get("is_error") is True,
    )


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = (block.get("text") for block in _blocks(content) if block.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))


def _blocks(content: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid(f"{name}: Input should be an array")
    return value
