"""Events on their way out: numbered, redacted, batched, delivered in order.

``emit`` never waits for the network: events queue up and a task sends them, at the latest after ``FLUSH_SECONDS``, earlier
when a batch is full. A gateway that is away only makes the queue longer, up to ``MAX_WAITING`` bytes; then output (never
typed events) is dropped, and an event says how much.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from infra.core.clock import Clock
from infra.core.errors import Invalid
from infra.core.redaction import Redactor
from infra.core.timeline import EventType
from infra.wire import EventBatch, WireEvent
from runner.gateway import Gateway
from runner.mirror import Mirror

FLUSH_SECONDS = 0.1
MAX_BATCH_BYTES = 192 * 1024
MAX_EVENT_BYTES = 64 * 1024
MAX_WAITING_BYTES = 16 * 1024 * 1024

_OUTPUT = frozenset({EventType.STDOUT, EventType.STDERR})

_log = logging.getLogger("runner")


@dataclass(slots=True)
class Stream:
    """``sequence`` is the number that the next event gets. ``mirror`` gets what the gateway has taken; ``listeners`` hear each event
    as it is sent, already redacted."""

    gateway: Gateway
    run_id: str
    fence: int
    sequence: int
    redactor: Redactor
    clock: Clock
    mirror: Mirror | None = None
    listeners: tuple[Callable[[WireEvent], None], ...] = ()
    _waiting: deque[tuple[WireEvent, int]] = field(default_factory=deque)
    _bytes: int = 0
    _dropped: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.mirror is not None:
            self.mirror.start()
        self._sender = asyncio.create_task(self._send_all(), name=f"events {self.run_id}")

    async def emit(self, kind: EventType, data: Mapping[str, Any]) -> None:
        clean = _bounded(self.redactor.data(dict(data)))
        size = len(msgspec.json.encode(clean))
        if self._bytes + size > MAX_WAITING_BYTES and kind in _OUTPUT:
            self._dropped += 1
            return
        if self._dropped:
            note = {
                "message": f"{self._dropped} pieces of output were dropped because the gateway could not take them."
            }
            self._dropped = 0
            self._queue(EventType.INFO, note, 200)
        self._queue(kind, clean, size)

    def _queue(self, kind: EventType, data: dict[str, Any], size: int) -> None:
        event = WireEvent(sequence=self.sequence, type=kind, at=self.clock(), data=data)
        self._waiting.append((event, size))
        self.sequence += 1
        self._bytes += size
        self._news.set()
        for listener in self.listeners:
            listener(event)

    async def close(self) -> None:
        """Returns when everything was delivered. Raises what the gateway refused it with."""
        self._closing.set()
        self._news.set()
        try:
            if self._sender is not None:
                await self._sender
        finally:
            if self.mirror is not None:
                await self.mirror.close()

    async def _send_all(self) -> None:
        while True:
            if not self._waiting:
                if self._closing.is_set():
                    return
                self._news.clear()
                await self._news.wait()
            if self._bytes < MAX_BATCH_BYTES:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), FLUSH_SECONDS)
            batch, size = self._next_batch()
            if batch:
                await self._deliver(batch)
                self._bytes -= size

    def _next_batch(self) -> tuple[list[WireEvent], int]:
        batch: list[WireEvent] = []
        size = 0
        while self._waiting and (not batch or size + self._waiting[0][1] <= MAX_BATCH_BYTES):
            event, event_size = self._waiting.popleft()
            batch.append(event)
            size += event_size
        return batch, size

    async def _deliver(self, batch: list[WireEvent]) -> None:
        try:
            await self.gateway.send_events(EventBatch(run_id=self.run_id, fence=self.fence, events=batch))
            if self.mirror is not None:
                self.mirror.offer(batch)
        except Invalid as error:
            # a malformed batch would be refused for ever; losing it (loudly) is better than losing the rest
            _log.error(
                "events %s–%s refused: %s",
                batch[0].sequence,
                batch[-1].sequence,
                error.message,
                extra={"run_id": self.run_id},
            )
            raise


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    """Cuts over-long texts, and says so in the text."""
    if len(msgspec.json.encode(data)) <= MAX_EVENT_BYTES:
        return data
    room = MAX_EVENT_BYTES // 2 // max(1, len(data))
    return {key: _cut(value, room) for key, value in data.items()}


def _cut(value: Any, room: int) -> Any:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) <= room:
        return value
    return f"{text[:room]}\n[… {len(text) - room:,} more characters]"
