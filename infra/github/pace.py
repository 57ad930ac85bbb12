"""How fast one installation may ask. GitHub counts per installation, so there is one ``Pace`` for each.

GitHub allows 100 requests at once and about 80 writes a minute, and asks for a full stop when it says so.
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from infra.core.clock import SECOND, Clock, Instant, later
from infra.core.errors import RateLimited

MAX_CONCURRENT = 10
WRITE_BURST = 20
WRITE_INTERVAL = 1 * SECOND
"""Twenty writes at once, then one a second: never more than 80 in any minute."""

MAX_WAIT_SECONDS = 10.0
"""A longer pause is not slept through but told to the caller, who can keep the work and come back."""

Sleep = Callable[[float], Awaitable[None]]


class Pace:
    """``ticks``: milliseconds that only go forward. ``sleep`` takes seconds."""

    def __init__(self, *, ticks: Clock, sleep: Sleep) -> None:
        self._ticks = ticks
        self._sleep = sleep
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._paused_until = Instant(0)
        self._next_write = Instant(0)

    @asynccontextmanager
    async def turn(self, *, writes: bool) -> AsyncIterator[None]:
        """Room for one request, as soon as the pace allows. Raises ``RateLimited`` when that is more than 10 s away."""
        self._check_pause()
        if writes:
            await self._write_turn()
        async with self._slots:
            while pause := self._check_pause():
                await self._sleep(pause)
            yield

    def stop_for(self, seconds: float) -> None:
        """GitHub asked for silence: nobody gets a turn before that."""
        self._paused_until = max(self._paused_until, later(self._ticks(), seconds * SECOND))

    def _check_pause(self) -> float:
        seconds = max(0, self._paused_until - self._ticks()) / SECOND
        if seconds > MAX_WAIT_SECONDS:
            raise RateLimited(
                "GitHub asked to slow down, and its pause is not over.",
                code="github_rate_limited",
                hint=f"Try again in {seconds:.0f} seconds.",
                retry_after=seconds,
            )
        return seconds

    async def _write_turn(self) -> None:
        """A leaky bucket kept as one number: when the next write would be due if all came evenly.
        https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm"""
        now = self._ticks()
        due = max(self._next_write, now)
        self._next_write = later(due, WRITE_INTERVAL)
        ahead = due - now - (WRITE_BURST - 1) * WRITE_INTERVAL
        if ahead > 0:
            await self._sleep(ahead / SECOND)
