"""``claude.log``: everything a run said, as lines, on this machine first and with the run's artifacts at its end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from infra.wire import WireEvent

RUN_LOG = "claude.log"

MOST_BYTES = 64 << 20


class RunLog:
    """Use as a context manager; ``note`` takes events that are already redacted. ``path`` is made with its folders, closed to others, and removed at the end
    unless it is to ``stay``."""

    def __init__(self, path: Path, *, stay: bool) -> None:
        self.path = path
        self._stay = stay
        self._file: IO[str] | None = None
        self._size = 0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        self.path.chmod(0o600)
        self._size = self.path.stat().st_size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._stay:
            self.path.unlink(missing_ok=True)

    def note(self, event: WireEvent) -> None:
        if self._file is None or self._size > MOST_BYTES:
            return
        line = line_of(event)
        self._size += len(line) + 1
        if self._size > MOST_BYTES:
            line = f"[the log ends here: it has {MOST_BYTES:,} bytes; the timeline goes on]"
        self._file.write(f"{line}\n")


def line_of(event: WireEvent) -> str:
    """Time, kind and what was said; what follows a line break is indented."""
    moment = datetime.fromtimestamp(event.at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    text = _words(event.data).replace("\n", "\n    ").rstrip()
    return f"{moment}Z {event.type:<11} {text}"


def _words(data: dict[str, Any]) -> str:
    for name in ("text", "message", "summary"):
        if isinstance(data.get(name), str):
            return str(data[name])
    return json.dumps(data, ensure_ascii=False)
