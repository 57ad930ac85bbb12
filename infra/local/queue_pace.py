"""How fast the queue may dispatch: a token bucket whose rate the receiver can push down.

An answer of 429 or 503 halves the rate, each success doubles it again up to ``max_per_second``; ``Retry-After`` closes the
queue for that long. Moments are seconds of any clock that only goes forward; they always arrive as arguments.
"""

from __future__ import annotations

from infra.core.queue import RetryPolicy


class Pace:
    def __init__(self, policy: RetryPolicy, now: float) -> None:
        self._full_rate = policy.max_per_second
        self._least_rate = min(policy.max_per_second, 1 / max(policy.max_backoff_seconds, 0.001))
        # The ratio of Cloud Tasks' own defaults: 500 a second, bursts of 100.
        self._burst = max(1.0, policy.max_per_second / 5)
        self._rate = self._full_rate
        self._tokens = self._burst
        self._counted_at = now
        self._slowed_at = now
        self._closed_until = now

    @property
    def rate(self) -> float:
        """Dispatches a second at the moment."""
        return self._rate

    def allowance(self, now: float) -> int:
        """How many attempts may start now."""
        self._refill(now)
        return 0 if now < self._closed_until else int(self._tokens)

    def wait(self, now: float) -> float:
        """Seconds until at least one attempt may start; 0 when it may start now."""
        self._refill(now)
        return max(self._closed_until - now, (1 - self._tokens) / self._rate, 0.0)

    def spend(self, attempts: int) -> None:
        self._tokens -= attempts

    def pushed_back(self, sent_at: float, now: float, retry_after: float) -> None:
        """Attempts that were under way when the queue slowed down say nothing about the new rate: one wave, one step."""
        self._refill(now)
        self._closed_until = max(self._closed_until, now + retry_after)
        if sent_at >= self._slowed_at:
            self._rate = max(self._least_rate, self._rate / 2)
            self._tokens = 0.0
            self._slowed_at = now

    def accepted(self, now: float) -> None:
        self._refill(now)
        self._rate = min(self._full_rate, self._rate * 2)

    def _refill(self, now: float) -> None:
        """A closed queue saves up one attempt at most: it reopens at the promised time, but not with a burst."""
        closed = max(0.0, min(self._closed_until, now) - self._counted_at)
        opened = max(0.0, now - max(self._closed_until, self._counted_at))
        self._tokens = max(self._tokens, min(1.0, self._tokens + closed * self._rate))
        self._tokens = min(self._burst, self._tokens + opened * self._rate)
        self._counted_at = max(self._counted_at, now)
