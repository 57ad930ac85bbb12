"""How fast one installation may write: GitHub takes 80 content-creating requests a minute and 500 an hour, for all of our
processes together. https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits

Two leaky buckets, each kept as one number (the generic cell rate algorithm): the moment at which it would be empty again.
A bucket that starts with ``burst`` and refills at one per ``interval`` lets at most burst + window / interval through in any
window, which is how the figures below add up to GitHub's. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from infra.core.clock import EPOCH, SECOND, Instant, later


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """``interval`` in milliseconds."""

    burst: int
    interval: int


MINUTE_BUCKET = Bucket(burst=20, interval=1 * SECOND)
"""20 + 60 = 80 in any minute."""

HOUR_BUCKET = Bucket(burst=140, interval=10 * SECOND)
"""140 + 360 = 500 in any hour."""


class Weight(Enum):
    """How much somebody would miss it; the value is the share of the bucket that must be left for more important things."""

    RESULT = 0.0
    """A pull request, or the words that say how a run ended."""
    RECEIPT = 0.15
    """That a request was heard, and what goes with a result."""
    PROGRESS = 0.5
    """What the next edit says as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPace:
    """``minute_at``, ``hour_at``: when each bucket is empty again."""

    minute_at: Instant = EPOCH
    hour_at: Instant = EPOCH


def spend(pace: ContentPace, *, writes: int, weight: Weight, now: Instant) -> tuple[ContentPace, int]:
    """The pace after ``writes`` requests, and 0 – or the same pace, and the milliseconds until they may be made."""
    minute_at, minute_wait = _fill(MINUTE_BUCKET, pace.minute_at, writes, weight, now)
    hour_at, hour_wait = _fill(HOUR_BUCKET, pace.hour_at, writes, weight, now)
    wait = max(minute_wait, hour_wait)
    return (pace, wait) if wait else (ContentPace(minute_at=minute_at, hour_at=hour_at), 0)


def count(pace: ContentPace, *, writes: int, now: Instant) -> ContentPace:
    """The pace after requests that are made anyway; whoever asks next waits for them."""
    return ContentPace(
        minute_at=later(max(pace.minute_at, now), writes * MINUTE_BUCKET.interval),
        hour_at=later(max(pace.hour_at, now), writes * HOUR_BUCKET.interval),
    )


def _fill(bucket: Bucket, full_at: Instant, writes: int, weight: Weight, now: Instant) -> tuple[Instant, int]:
    filled = later(max(full_at, now), writes * bucket.interval)
    room = round(bucket.burst * (1 - weight.value)) * bucket.interval
    return filled, max(0, filled - now - room)
