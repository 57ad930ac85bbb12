"""Wakes whoever in this process waits for news of a run. A convenience, never a promise: with several instances the
news may arrive at another one, so every waiter also looks at the store now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from infra.core.ids import RunId


class Bell:
    def __init__(self) -> None:
        self._waiting: defaultdict[RunId, set[asyncio.Event]] = defaultdict(set)

    def ring(self, run_id: RunId) -> None:
        for event in self._waiting.get(run_id, ()):
            event.set()

    @contextlib.contextmanager
    def listen(self, run_id: RunId) -> Iterator[asyncio.Event]:
        """An event that is set at each ring while the block lasts; clear it before looking at the store."""
        event = asyncio.Event()
        self._waiting[run_id].add(event)
        try:
            yield event
        finally:
            self._waiting[run_id].discard(event)
            if not self._waiting[run_id]:
                del self._waiting[run_id]


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the bell rings, at most ``seconds``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
