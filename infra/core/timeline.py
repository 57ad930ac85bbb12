"""The timeline: one numbered, append-only list of events per run, the only feed that anything reads.

One writer per run (the lease holder) numbers the events 1, 2, 3 … over everything it says. They are stored in
chunks; readers of any kind take history and then the tail from the same cursor, a sequence number.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infra.core.clock import Instant
from infra.core.errors import Invalid


class EventType(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"
    MARKER = "marker"
    INFO = "info"
    ERROR = "error"
    ASSIST = "assist"
    MESSAGE = "message"
    TOOL_USE = "tool_use"
    TOOL_RESULT = "tool_result"
    USAGE = "usage"
    PHASE = "phase"
    QUESTION = "question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``data`` by type: stdout/stderr/message ``{"text"}`` · marker ``{"name": "started"|"finished", …}`` · info/error
    ``{"message", "code"?, "hint"?}`` · tool_use ``{"id", "name", "input", "summary", "risk"?, "decision"?, "reason"?}`` · tool_result ``{"id", "text",
    "is_error"}`` · usage ``{"turns", "input_tokens", "output_tokens", "cost_micros"}`` · phase ``{"phase", "detail"?}`` ·
    assist ``{"type", "url"}`` · question ``{"id", "text", "kind": "free"|"one"|"several", "options"}``."""

    sequence: int
    type: EventType
    at: Instant
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of consecutive events as stored. ``first``–``last`` inclusive."""

    first: int
    last: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Events that were there once and were removed because they are old. ``first``–``last`` inclusive."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What a reader gets: events that run on, and what is missing before them."""

    events: tuple[Event, ...]
    gap: Gap | None = None


def next_chunk(expected: int, events: Sequence[Event]) -> Chunk | None:
    """The part of a batch that is new, or None when all of it was stored before (a repeated delivery).

    ``expected`` is the next sequence number of the run. Raises ``Invalid`` when numbers inside the batch do not run on
    (``sequence_backwards``) or when events are missing between the two (``sequence_gap``, naming the number to resend).
    """
    for before, after in itertools.pairwise(events):
        if after.sequence != before.sequence + 1:
            raise Invalid(
                f"Event {after.sequence} follows {before.sequence}; sequence numbers must rise by one.",
                code="sequence_backwards",
            )
    fresh = tuple(event for event in events if event.sequence >= expected)
    if not fresh:
        return None
    if fresh[0].sequence != expected:
        raise Invalid(
            f"Events {expected} to {fresh[0].sequence - 1} are missing.",
            code="sequence_gap",
            hint=f"Send again from sequence {expected}.",
        )
    return Chunk(first=fresh[0].sequence, last=fresh[-1].sequence, events=fresh)
