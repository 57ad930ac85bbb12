"""Primary rate limits: counted per identity and hour, told in headers, refused when used up.

https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import HOUR, SECOND, Clock
from infra.local.forge.identity import Identity
from infra.local.forge.problem import Refusal


@dataclass(slots=True)
class _Window:
    ends: int
    used: int = 0


class RateLimits:
    """``limit`` requests an hour; may be changed at any time (a test sets it low)."""

    def __init__(self, clock: Clock, limit: int = 5_000) -> None:
        self.limit = limit
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def count(self, identity: Identity) -> dict[str, str]:
        """Counts one request and returns the headers to answer with. Raises 403 when the hour is used up."""
        window = self._window(identity)
        window.used += 1
        headers = self.headers(identity)
        if window.used > self.limit:
            who = f"installation ID {identity.token.installation}" if identity.token else "this address"
            raise Refusal(403, f"API rate limit exceeded for {who}.", headers=headers)
        return headers

    def give_back(self, identity: Identity) -> None:
        """A conditional request that found nothing new does not count."""
        self._window(identity).used -= 1

    def headers(self, identity: Identity) -> dict[str, str]:
        return {f"x-ratelimit-{name}": str(value) for name, value in self.shape(identity).items()}

    def shape(self, identity: Identity) -> dict[str, int | str]:
        window = self._window(identity)
        return {
            "limit": self.limit,
            "remaining": max(self.limit - window.used, 0),
            "reset": window.ends // SECOND,
            "used": min(window.used, self.limit),
            "resource": "core",
        }

    def _window(self, identity: Identity) -> _Window:
        key = _key(identity)
        now = self._clock()
        known = self._windows.get(key)
        if known is None or known.ends <= now:
            known = self._windows[key] = _Window(now + HOUR)
        return known


def _key(identity: Identity) -> str:
    if identity.token is not None and identity.token.installation is not None:
        return f"installation {identity.token.installation}"
    return f"account {identity.account.id}" if identity.account else "anonymous"
