"""A run as people watch it: lines that stay, and one living line with phase, time and cost below them.

When the output is not a terminal there are plain lines only.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from infra.local.client import RunEvent

_PHASES = {"cloning": "cloning", "working": "agent at work", "publishing": "publishing"}


class RunView:
    """Shows events as they come; ``show`` returns the finished run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._phase = "queued"
        self._cost = 0
        self._turns = 0

    async def show(self, events: AsyncIterator[RunEvent]) -> dict[str, Any]:
        with Live(self._status(), console=self._console, refresh_per_second=8, transient=True) as live:
            async for event in events:
                if event.kind == "end":
                    return event.data
                line = self._line(event)
                if line is not None:
                    self._console.print(line)
                live.update(self._status())
        return {}

    def _status(self) -> Spinner:
        elapsed = time.monotonic() - self._started
        return Spinner(
            "dots",
            Text(f" {self._phase} · {elapsed:.0f} s · {self._turns} turns · ${self._cost / 1e6:.4f}", style="cyan"),
        )

    def _line(self, event: RunEvent) -> Text | None:
        data = event.data
        match event.kind:
            case "phase":
                self._phase = _PHASES.get(str(data.get("phase")), str(data.get("phase")))
                detail = f" – {data['detail']}" if data.get("detail") else ""
                return self._stamped(f"{self._phase}{detail}", "bold cyan")
            case "tool_use":
                return self._stamped(f"⚒ {_short(str(data.get('summary') or data.get('name', '')), 100)}", "yellow")
            case "tool_result":
                mark = "✗" if data.get("is_error") else "✓"
                return self._stamped(
                    f"  {mark} {_short(str(data.get('text', '')), 90)}", "red" if data.get("is_error") else "dim"
                )
            case "message":
                return self._stamped(f"“{_short(str(data.get('text', '')), 240)}”", "white")
            case "usage":
                self._cost, self._turns = int(data.get("cost_micros", 0)), int(data.get("turns", 0))
                return None
            case "error":
                return self._stamped(f"error: {data.get('message', '')}", "bold red")
            case "info":
                return self._stamped(_short(str(data.get("message", "")), 200), "dim")
            case _:
                return None

    def _stamped(self, text: str, style: str) -> Text:
        elapsed = time.monotonic() - self._started
        return Text.assemble((f"{elapsed:6.1f} s  ", "dim"), (text, style))


def _short(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
