"""How one repository's calls leave: with its installation's token, at its installation's pace, once more after a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from infra.core.errors import Upstream
from infra.core.forge import AccessToken
from infra.core.repository import Repository
from infra.github.pace import Pace
from infra.github.protocol import Call
from infra.github.tokens import TokenSource
from infra.github.transport import Transport

T = TypeVar("T")


class Sending:
    """Base of what speaks about one repository. ``git_url``: where repositories are cloned from.

    ``forget`` is told of a token that GitHub refused; with it, such a request is tried once more with a new one.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        git_url: str,
        repository: Repository,
        token_source: TokenSource,
        pace: Pace,
        forget: Callable[[AccessToken], None] | None = None,
    ) -> None:
        self._transport = transport
        self._git_url = git_url
        self._repository = repository
        self._token = token_source
        self._pace = pace
        self._forget = forget

    async def _send(self, call: Call[T]) -> T:
        return await self._authorized(partial(self._transport.send, call, pace=self._pace))

    async def _collect(self, call: Call[tuple[T, ...]]) -> tuple[T, ...]:
        """All pages of a list, at most ten."""
        return await self._authorized(partial(self._transport.collect, call, pace=self._pace))

    async def _authorized(self, ask: Callable[[str], Awaitable[T]]) -> T:
        token = await self._token()
        try:
            return await ask(token.value)
        except Upstream as error:
            if error.status != 401 or self._forget is None:
                raise
            self._forget(token)
        return await ask((await self._token()).value)
