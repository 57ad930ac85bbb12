"""A pump in a process of its own, for the tests that kill it: ``python local_queue_pump.py FILE``."""

import asyncio
import sys
import time
from pathlib import Path

from infra.core.clock import Instant
from infra.core.queue import RetryPolicy
from infra.local.queue import QueuePump


async def main() -> None:
    pump = QueuePump(
        Path(sys.argv[1]),
        lambda: Instant(time.time_ns() // 1_000_000),
        sign=lambda audience: audience,
        policy=RetryPolicy(max_attempts=3, min_backoff_seconds=0.05, max_concurrent=32, max_per_second=10_000),
    )
    await pump.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
