"""Installation tokens for the control plane's own questions: kept while they are good, made once for many who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from infra.core.clock import MINUTE, Clock
from infra.core.forge import AccessToken

MARGIN = 5 * MINUTE
"""A token this close to its end is not used any more: the request that it is for takes time too."""

TokenSource = Callable[[], Awaitable[AccessToken]]


class CachedToken:
    """A ``TokenSource`` that remembers the last token of another."""

    def __init__(self, mint: TokenSource, clock: Clock) -> None:
        self._mint = mint
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: AccessToken | None = None

    async def __call__(self) -> AccessToken:
        async with self._lock:
            if self._token is None or self._token.expires_at - MARGIN <= self._clock():
                self._token = await self._mint()
            return self._token

    def forget(self, token: AccessToken) -> None:
        """GitHub refused it: the next call makes a new one – unless that has already happened."""
        if self._token is token:
            self._token = None
