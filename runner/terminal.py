"""A run as the person at this machine sees it: lines that stay, one living line below them, and a summary at the end.

Where the output is not a terminal there are plain lines only.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from infra.core.timeline import EventType
from infra.wire import WireEvent
from runner.ending import Ending

_MOST = 300

_LINES = {
    EventType.TOOL_USE: ("⚒ ", "summary", "yellow"),
    EventType.STDOUT: ("│ ", "text", "dim"),
    EventType.STDERR: ("│ ", "text", "dim"),
    EventType.ASSIST: ("⌁ assist: ", "url", "bold green"),
    EventType.ERROR: ("! ", "message", "bold red"),
    EventType.INFO: ("· ", "message", "dim"),
}
"""Mark, field of the event's data, style."""


class Terminal(AbstractContextManager["Terminal"]):
    """``note`` shows an event; it is redacted already, but not harmless to a terminal before it is a ``Text``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._started = time.monotonic()
        self._phase = "starting"
        self._turns = 0
        self._micros = 0
        self._tools = 0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
            self._live.update(self._status())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def note(self, event: WireEvent) -> None:
        line = self._line(event.type, event.data)
        if line is not None:
            self._console.print(line)
        if self._live:
            self._live.update(self._status())

    def summary(self, ending: Ending) -> None:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_row("run", ending.run_id)
        table.add_row("end", str(ending.state or "nothing to do"))
        if ending.message:
            table.add_row("", Text(ending.message))
        table.add_row("time", f"{time.monotonic() - self._started:.1f} s")
        table.add_row("turns", f"{self._turns}, {self._tools} tool calls")
        table.add_row("cost", f"${self._micros / 1e6:.4f}")
        self._console.print(table)

    def _status(self) -> Spinner:
        words = f" {self._phase} · {time.monotonic() - self._started:.0f} s · {self._turns} turns · ${self._micros / 1e6:.4f}"
        return Spinner("dots", Text(words, style="cyan"))

    def _line(self, kind: EventType, data: dict[str, Any]) -> Text | None:
        match kind:
            case EventType.PHASE:
                self._phase = str(data["phase"])
                return Text(f"▸ {self._phase} {data.get('detail', '')}".rstrip(), style="bold cyan")
            case EventType.USAGE:
                self._turns, self._micros = int(data["turns"]), int(data["cost_micros"])
            case EventType.TOOL_RESULT:
                return _text("✗ ", data.get("text"), "red") if data.get("is_error") else None
            case EventType.MESSAGE:
                who = f"{data['from']}: " if data.get("from") else ""
                return _text(who, data.get("text"), "bold" if who else "")
            case EventType.QUESTION:
                options = f" ({', '.join(data['options'])})" if data.get("options") else ""
                return _text("? ", f"{data.get('text')}{options}", "bold magenta")
        self._tools += kind is EventType.TOOL_USE
        return _text(_LINES[kind][0], data.get(_LINES[kind][1]), _LINES[kind][2]) if kind in _LINES else None


def _text(mark: str, words: object, style: str) -> Text:
    """Never markup: what an agent says must not become a style, a link or a prompt of ours."""
    said = str(words or "").strip()
    short = said if len(said) <= _MOST else f"{said[:_MOST]}…"
    return Text(f"{mark}{short}", style=style)
