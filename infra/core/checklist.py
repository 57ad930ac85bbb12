"""The agent's own checklist, as its tool calls tell it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.core.timeline import Event, EventType

TOOL = "TodoWrite"
"""The tool gives the whole list at each call. https://code.claude.com/docs/en/agent-sdk/todo-tracking"""

MAX_ITEMS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One point. ``text`` is the model's and not to be trusted."""

    text: str
    done: bool = False
    active: bool = False


def newest_checklist(events: Iterable[Event]) -> tuple[Item, ...] | None:
    """The list after these events; None when they do not change it."""
    found = None
    for event in events:
        if event.type is EventType.TOOL_USE and event.data.get("name") == TOOL:
            given = event.data.get("input")
            todos = given.get("todos") if isinstance(given, Mapping) else None
            if isinstance(todos, list):
                found = tuple(item for todo in todos[:MAX_ITEMS] if (item := _item(todo)) is not None)
    return found


def _item(todo: Any) -> Item | None:
    if not isinstance(todo, Mapping) or not isinstance(text := todo.get("content"), str) or not text.strip():
        return None
    status = todo.get("status")
    return Item(text=text, done=status == "completed", active=status == "in_progress")
