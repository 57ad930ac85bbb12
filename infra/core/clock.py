"""Time as a value: whole milliseconds since the Unix epoch, UTC.

An integer sorts, adds and stores the same way in every back end; text forms appear only where people read them.
The current time always arrives as an argument, or as a ``Clock`` handed in by a composition root.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NewType

Instant = NewType("Instant", int)
"""Milliseconds since 1970-01-01T00:00:00Z."""

EPOCH = Instant(0)

Clock = Callable[[], Instant]

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def later(moment: Instant, milliseconds: float) -> Instant:
    return Instant(moment + int(milliseconds))


def iso(moment: Instant) -> str:
    """RFC 3339 in UTC with milliseconds, for people and JSON."""
    text = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
