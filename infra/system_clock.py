"""The real time: handed to whoever needs a ``Clock`` by the composition roots, and read nowhere else."""

from __future__ import annotations

import time

from infra.core.clock import Instant


def system_clock() -> Instant:
    return Instant(time.time_ns() // 1_000_000)
