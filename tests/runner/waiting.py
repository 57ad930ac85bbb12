"""Waiting for something to become true, with an end."""

import asyncio
import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def until(true: Callable[[], object], seconds: float = 10) -> None:
    await asyncio.to_thread(wait_until, true, seconds)
