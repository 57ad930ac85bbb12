"""The forge's own memory of what it sent us: its deliveries, and how each of them ended. It does not repeat one by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from infra.core.clock import DAY, MINUTE, Instant, later

MOST_ATTEMPTS = 6
FIRST_PAUSE = 1 * MINUTE
KEPT_FOR = 3 * DAY
"""So long a delivery can be asked for again. https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks"""

_WORTH_REPEATING = frozenset({401, 408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One attempt at a delivery. ``guid`` is the same for all attempts, ``id`` is this one's. ``status`` 0: no answer came."""

    id: int
    guid: str
    event: str
    action: str
    status: int
    at: Instant

    @property
    def arrived(self) -> bool:
        return 200 <= self.status < 300

    @property
    def worth_repeating(self) -> bool:
        """An answer that may be another one next time. 401: the secrets differed, which a rotation can cause and mend."""
        return not self.status or self.status >= 500 or self.status in _WORTH_REPEATING


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A delivery that has not arrived. ``attempts``: how often we asked for it again; ``next_at``: when to do so, None when it was
    given up."""

    guid: str
    sent: int
    event: str
    action: str
    status: int
    first_at: Instant
    attempts: int = 0
    next_at: Instant | None = None


def missed(sent: Sent, now: Instant) -> Missed:
    return Missed(
        guid=sent.guid,
        sent=sent.id,
        event=sent.event,
        action=sent.action,
        status=sent.status,
        first_at=sent.at,
        next_at=now,
    )


def asked_again(missing: Missed, now: Instant) -> Missed:
    """After another attempt: the pause doubles; given up after ``MOST_ATTEMPTS`` or when GitHub has forgotten it."""
    attempts = missing.attempts + 1
    over = attempts >= MOST_ATTEMPTS or missing.first_at + KEPT_FOR <= now
    return Missed(
        guid=missing.guid,
        sent=missing.sent,
        event=missing.event,
        action=missing.action,
        status=missing.status,
        first_at=missing.first_at,
        attempts=attempts,
        next_at=None if over else later(now, FIRST_PAUSE * 2**attempts),
    )


class Hook(Protocol):
    """The App's webhook. Raises what ``infra.core.forge.RepositoryForge`` says."""

    def sent(self) -> AsyncIterator[Sent]:
        """All attempts that the forge remembers, newest first; pages are asked for as they are needed, and not without end."""
        ...

    async def send_again(self, sent: int) -> None:
        """Another attempt, with the same id and body, to where the hook points now. Raises ``NotFound`` when it was forgotten."""
        ...
