"""Records a run's conversation with the model while it passes through the broker, bounded, for a cassette."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from infra.core.clock import Clock, Instant
from runner.asked import Asked, Reader

MOST_BYTES = 24 * 1024 * 1024
"""Of answers, and of what is kept of requests, for one run. What comes after is not recorded, and the cassette says so."""

_KEPT_HEADERS = ("content-type", "request-id", "retry-after", "x-should-retry")
_KEPT_PREFIX = "anthropic-ratelimit-"


class Ended(StrEnum):
    """How an answer ended: whole, broken off by the model's server, never begun, stopped for lack of budget, or left by the
    agent."""

    WHOLE = "whole"
    CUT = "cut"
    UNREACHABLE = "unreachable"
    STOPPED = "stopped"
    LEFT = "left"


class Take:
    """One exchange while it happens. ``chunks``: milliseconds since it was asked, and the bytes."""

    def __init__(self, asked: Asked, at: Instant, clock: Clock, room: Callable[[int], bool]) -> None:
        self.asked = asked
        self.at = at
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[tuple[int, bytes]] = []
        self.ended = Ended.LEFT
        self.complete = True
        self._clock = clock
        self._room = room

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = {
            name: value for name, value in headers.items() if name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIX)
        }

    def heard(self, chunk: bytes) -> None:
        if self.complete and self._room(len(chunk)):
            self.chunks.append((self._clock() - self.at, chunk))
        else:
            self.complete = False


class Recorder:
    """``takes`` in the order in which they were asked. ``truncated``: not everything found room."""

    def __init__(self, reader: Reader, clock: Clock, *, most_bytes: int = MOST_BYTES) -> None:
        self.takes: list[Take] = []
        self.truncated = False
        self._reader = reader
        self._clock = clock
        self._left = most_bytes

    def begin(self, path: str, body: bytes) -> Take | None:
        """``body``: as it is sent to the model. None when there is no room for another."""
        if self.truncated:
            return None
        asked = self._reader.read(path, body)
        if not self._room(sum(map(len, asked.news)) + 1_000):
            return None
        take = Take(asked, self._clock(), self._clock, self._room)
        self.takes.append(take)
        return take

    def _room(self, size: int) -> bool:
        self._left -= size
        if self._left < 0:
            self.truncated = True
        return not self.truncated
