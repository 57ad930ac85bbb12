"""A run's events to a WebSocket of somebody's own (``WEBSOCKET_URL``): what was stored, as it was stored, one message each.

The function that serves the control plane passes no WebSockets on, so a consumer that wants one is called instead of calling.
It is a courtesy: the timeline is the record, and a consumer that is away or slow holds nothing up and loses what does not fit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from infra.core.errors import Invalid
from infra.wire import WireEvent

MAX_WAITING = 2_000
"""Events kept for a consumer that is away."""

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
DRAIN_SECONDS = 5.0

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_log = logging.getLogger("runner")


def check_url(url: str) -> str:
    """Raises ``Invalid`` for what is no WebSocket, and for one in the clear that is not on this machine."""
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise Invalid("WEBSOCKET_URL is not a WebSocket's address.", code="invalid_setting", hint="wss://host/path")
    if parts.scheme == "ws" and parts.hostname not in _LOOPBACK:
        raise Invalid("WEBSOCKET_URL is not encrypted.", code="invalid_setting", hint="Use wss:// to other machines.")
    return url


@dataclass(slots=True)
class Mirror:
    """``start``, then ``offer`` what was stored, then ``close``. The address may hold a secret and is never shown."""

    url: str = field(repr=False)
    run_id: str
    _waiting: deque[WireEvent] = field(default_factory=deque)
    _lost: list[int] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False
    _sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sender = asyncio.create_task(self._send_all(), name=f"mirror of {self.run_id}")

    def offer(self, events: Sequence[WireEvent]) -> None:
        """Never waits; the oldest are lost when the consumer does not take them."""
        self._waiting.extend(events)
        while len(self._waiting) > MAX_WAITING:
            lost = self._waiting.popleft().sequence
            self._lost = [self._lost[0] if self._lost else lost, lost]
        self._news.set()

    async def close(self) -> None:
        """Gives the consumer a moment to take the rest."""
        self._closing = True
        self._news.set()
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=DRAIN_SECONDS)
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _send_all(self) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        pause = FIRST_PAUSE_SECONDS
        while not self._closing or self._waiting:
            try:
                async with connect(self.url, proxy=None, max_size=2**16) as socket:
                    pause = FIRST_PAUSE_SECONDS
                    await self._feed(socket)
            except (OSError, TimeoutError, WebSocketException) as error:
                _log.warning("the WebSocket does not take events: %s", type(error).__name__)
            if not self._closing or self._waiting:
                with contextlib.suppress(TimeoutError):
                    await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _feed(self, socket: Any) -> None:
        while True:
            while self._waiting:
                if self._lost:
                    first, last = self._lost
                    gap = {"run_id": self.run_id, "type": "gap", "data": {"first": first, "last": last}}
                    await socket.send(msgspec.json.encode(gap).decode())
                    self._lost = []
                event = self._waiting[0]
                await socket.send(msgspec.json.encode({"run_id": self.run_id, **msgspec.to_builtins(event)}).decode())
                if self._waiting and self._waiting[0] is event:
                    self._waiting.popleft()
            if self._closing:
                return
            self._news.clear()
            await self._news.wait()
