"""Every tool call of an agent, written down out here before it runs: what, how risky, allowed or not, and why.

The file lies where no agent reaches; a call whose line cannot be written is not allowed (the hook that writes it fails closed).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.core.clock import Clock
from infra.core.errors import PullwrightError
from infra.core.timeline import EventType
from infra.core.tool_policy import Allow, Decision
from infra.core.tool_record import FIRST, record_line
from runner.agents.port import Sink
from runner.gateway import Gateway

TOOL_LOG = "tools.jsonl"
"""Name of the artifact."""

_MAX_BYTES = 16 * 1024 * 1024


class LogFull(OSError):
    """No further call can be written down, so none is allowed."""


class ToolLog:
    """Open while its context is. ``clean`` takes every secret out of a value."""

    def __init__(self, path: Path, *, clock: Clock, clean: Callable[[Any], Any]) -> None:
        self.path = path
        self.count = 0
        self.digest = FIRST
        self._clock = clock
        self._clean = clean
        self._file = -1
        self._size = 0

    def __enter__(self) -> Self:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._file = -1

    def decided(self, identity: str, name: str, arguments: Mapping[str, Any], decision: Decision) -> None:
        """Raises ``OSError`` when the call cannot be written down; then it must not run."""
        self._write(
            {
                "kind": "call",
                "id": identity,
                "tool": name,
                "input": dict(arguments),
                "decision": "allow" if isinstance(decision, Allow) else "deny",
                "risk": decision.risk,
                "reason": decision.reason,
            }
        )

    def ended(self, identity: str, *, failed: bool) -> None:
        self._write({"kind": "end", "id": identity, "failed": failed})

    def _write(self, said: Mapping[str, Any]) -> None:
        line, digest = record_line(self.count + 1, self._clock(), self.digest, self._clean(dict(said)))
        if self._size + len(line) > _MAX_BYTES:
            raise LogFull(f"The log of tool calls has {_MAX_BYTES:,} bytes, which is all that is kept.")
        os.write(self._file, line)
        self.count, self.digest, self._size = self.count + 1, digest, self._size + len(line)


async def hand_over(log: ToolLog, gateway: Gateway, fence: int, tell: Sink) -> None:
    """Keeps the log with the run, one file an attempt, and tells its digest. Losing it does not lose the run."""
    name = TOOL_LOG if fence == 1 else f"tools-{fence}.jsonl"
    try:
        await gateway.send_artifact(name, fence, await asyncio.to_thread(log.path.read_bytes))
    except PullwrightError as error:
        await tell(EventType.INFO, {"message": f"The log of tool calls is lost: {error.message}", "code": "tool_log"})
        return
    message = f"{log.count} lines of tool calls are kept as {name}; the last one's digest is {log.digest}."
    await tell(EventType.INFO, {"message": message, "code": "tool_log"})
