"""An answer of the model, before it becomes JSON or events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from infra.local.model.script import ESTIMATED, UsageOverride


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """``pieces`` are the deltas a stream sends."""

    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """``deltas`` joined are the input's JSON text (scripts may make it broken on purpose; ``input`` is then empty)."""

    name: str
    deltas: tuple[str, ...]

    @property
    def input(self) -> dict[str, Any]:
        try:
            value = json.loads("".join(self.deltas) or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


Block = Text | ToolUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    blocks: tuple[Block, ...]
    stop_reason: str
    usage: UsageOverride = ESTIMATED
