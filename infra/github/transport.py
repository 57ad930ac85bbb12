"""The thin part that does I/O: sends a ``Call`` over httpx, repeats what may be repeated, keeps to the pace.

It follows no redirect and asks one host only, so a token cannot be carried anywhere else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from functools import cache
from importlib.metadata import version
from typing import TypeVar

import httpx

from infra.core.clock import Clock, Instant
from infra.core.errors import RateLimited, Unavailable, Upstream
from infra.core.ids import Entropy
from infra.github.downloads import fetch
from infra.github.pace import MAX_WAIT_SECONDS, Pace, Sleep
from infra.github.protocol import GRAPHQL, Answer, Call, decipher, next_page, refusal, wait_seconds

T = TypeVar("T")

TIMEOUT = httpx.Timeout(connect=5.0, read=20.0, write=20.0, pool=20.0)
WHOLE_EXCHANGE_SECONDS = 60.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_PAGES = 10
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5

_PASSING = frozenset({502, 503, 504})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LOST = (httpx.RequestError, TimeoutError)
_REMEMBERED = 256
_MAX_REMEMBERED_BYTES = 64 * 1024


def monotonic() -> Instant:
    return Instant(time.monotonic_ns() // 1_000_000)


class Transport:
    """One GitHub, as an ``httpx.AsyncClient`` reaches it. ``api_url``: ``https://api.github.com`` or ``https://HOST/api/v3``.

    ``ticks``: milliseconds that only go forward; ``entropy`` spreads the pauses between attempts.
    """

    def __init__(
        self,
        *,
        api_url: str,
        http: httpx.AsyncClient,
        ticks: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        entropy: Entropy = os.urandom,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._http = http
        self._ticks = ticks
        self._sleep = sleep
        self._entropy = entropy
        self._timeout = timeout
        self._remembered: OrderedDict[str, tuple[str, Answer]] = OrderedDict()

    def pace(self) -> Pace:
        """A fresh limiter on this transport's own time."""
        return Pace(ticks=self._ticks, sleep=self._sleep)

    async def send(self, call: Call[T], token: str, pace: Pace) -> T:
        """The call's value. Raises what ``decipher`` raises, and ``Unavailable`` when no answer comes."""
        return decipher(call, await self._answer(call, token, pace))

    async def collect(self, call: Call[tuple[T, ...]], token: str, pace: Pace) -> tuple[T, ...]:
        """All pages of a list, at most ten."""
        found: tuple[T, ...] = ()
        async for values in self.pages(call, token, pace):
            found += values
        return found

    async def pages(
        self, call: Call[tuple[T, ...]], token: str, pace: Pace, *, most: int = MAX_PAGES
    ) -> AsyncIterator[tuple[T, ...]]:
        """A list page by page, each asked for when it is wanted."""
        page: Call[tuple[T, ...]] | None = call
        for _ in range(most):
            if page is None:
                return
            answer = await self._answer(page, token, pace)
            yield decipher(page, answer)
            page = next_page(page, answer)

    async def location(self, call: Call[bytes], token: str, pace: Pace) -> str:
        """Where GitHub says that a file is, instead of following it: a token must not go there. Raises what ``send`` raises."""
        answer = await self._answer(call, token, pace)
        if answer.status == 302:
            return answer.headers.get("location", "")
        raise refusal(call, answer)

    async def fetch(self, url: str, *, most: int, end_only: bool = False) -> bytes:
        """A file elsewhere, without any token (``infra/github/downloads.py``)."""
        return await fetch(self._http, url, most=most, end_only=end_only)

    async def close(self) -> None:
        await self._http.aclose()

    async def pause(self, attempt: int, at_least: float = 0.0) -> None:
        """Twice as long after each attempt, up to a half more or less, so that many callers do not return at once."""
        jitter = 0.5 + self._entropy(1)[0] / 255
        await self._sleep(max(at_least, FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1) * jitter))

    async def _answer(self, call: Call[T], token: str, pace: Pace) -> Answer:
        """The last answer: repeated while GitHub fails in passing, and the call allows to be repeated."""
        for attempt in range(1, ATTEMPTS):
            try:
                answer = await self._exchange(call, token, pace)
            except _LOST as error:
                if not (call.idempotent or isinstance(error, _NOT_SENT)):
                    raise self._unreachable(error) from error
                await self.pause(attempt)
                continue
            wait = self._repeat_after(call, answer)
            if wait is None:
                return answer
            await self.pause(attempt, wait)
        try:
            return await self._exchange(call, token, pace)
        except _LOST as error:
            raise self._unreachable(error) from error

    def _repeat_after(self, call: Call[T], answer: Answer) -> float | None:
        """Seconds to wait before the same call is worth another try; None when it is not."""
        refused = refusal(call, answer) if answer.status in {403, 429} else None
        if isinstance(refused, RateLimited):
            # nothing was done, so also a write may come again
            return refused.retry_after if refused.retry_after <= MAX_WAIT_SECONDS else None
        if answer.status not in _PASSING or not call.idempotent:
            return None
        wait = wait_seconds(answer.headers) if "retry-after" in answer.headers else 0.0
        return wait if wait <= MAX_WAIT_SECONDS else None

    async def _exchange(self, call: Call[T], token: str, pace: Pace) -> Answer:
        async with pace.turn(writes=call.writes), asyncio.timeout(WHOLE_EXCHANGE_SECONDS):
            answer = await self._recall(call, token)
        if answer.status in {403, 429} and isinstance(refused := refusal(call, answer), RateLimited):
            pace.stop_for(refused.retry_after)
        return answer

    async def _recall(self, call: Call[T], token: str) -> Answer:
        """Asks only whether a remembered answer still holds. GitHub does not count those against the rate limit, and it
        checks the token before it says so.
        https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api"""
        if call.method != "GET":
            return await self._request(call, token, {})
        key = repr((call.path, sorted(call.params.items()), call.accept))
        etag, remembered = self._remembered.get(key, ("", None))
        answer = await self._request(call, token, {"if-none-match": etag} if etag else {})
        if answer.status == 304 and remembered is not None:
            self._remembered.move_to_end(key)
            return remembered
        self._remember(key, answer)
        return answer

    def _remember(self, key: str, answer: Answer) -> None:
        self._remembered.pop(key, None)
        etag = answer.headers.get("etag", "")
        if answer.status == 200 and etag and len(answer.body) <= _MAX_REMEMBERED_BYTES:
            self._remembered[key] = (etag, answer)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _address(self, call: Call[T]) -> str:
        """GraphQL lives beside the REST API, on a server of one's own not below it.
        https://docs.github.com/en/enterprise-server@3.17/graphql/guides/forming-calls-with-graphql"""
        base = self._api_url.removesuffix("/v3") if call.path == GRAPHQL else self._api_url
        return base + call.path

    async def _request(self, call: Call[T], token: str, extra: dict[str, str]) -> Answer:
        request = self._http.build_request(
            call.method,
            self._address(call),
            params=call.params,
            json=call.json,
            headers=call.headers(f"Bearer {token}" if token else "", user_agent()) | extra,
            timeout=self._timeout,
        )
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            return Answer(response.status_code, dict(response.headers), await _bounded(response))
        finally:
            await response.aclose()

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"GitHub did not answer ({type(error).__name__}).",
            code="github_unreachable",
            hint=f"Is {self._api_url} reachable from here? Try again.",
        )


@cache
def user_agent() -> str:
    """GitHub refuses requests without one. https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api"""
    return f"pullwright/{version('pullwright')}"


async def _bounded(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise Upstream(
                f"GitHub's answer is larger than {MAX_ANSWER_BYTES:,} bytes.",
                code="github_bad_answer",
                status=response.status_code,
            )
        parts.append(part)
    return b"".join(parts)
