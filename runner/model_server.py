"""The model's server as the broker reaches it: one dialect, one credential that is renewed in time, one verdict on it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import msgspec

from infra.core.clock import MINUTE, Clock, Instant, later
from infra.core.errors import Invalid, PullwrightError
from infra.wire import ModelCredentials
from runner.agents.port import Denial
from runner.model_protocol import ModelRequest, headers_up
from runner.vertex import vertex_body, vertex_path

# Silence in a stream is the agent's to judge (its own watchdog is at 300 s); ours only frees a dead connection.
_TIMEOUT = httpx.Timeout(connect=20, read=900, write=120, pool=60)
_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=30)

RENEW_BEFORE = 5 * MINUTE
"""How long before its end a credential is replaced: longer than a request waits for its first byte."""

_RENEW_AGAIN = MINUTE

DEFINITE_REFUSALS = 3
"""So many refusals of the credential in a row, without an answer between, are no accident. Claude Code asks for the third time
within two seconds, and would go on for three minutes."""

_SETTINGS = {
    "api_key": "Check ANTHROPIC_API_KEY (MODEL_AUTH=api_key): it may be mistyped, revoked or of another organisation.",
    "oauth": "Check CLAUDE_CODE_OAUTH_TOKEN (MODEL_AUTH=oauth); claude setup-token makes a new one.",
    "gateway": "Check ANTHROPIC_AUTH_TOKEN and ANTHROPIC_BASE_URL (MODEL_AUTH=gateway).",
    "vertex": "Check that the account may use the model in this project and region (roles/aiplatform.user), and VERTEX_USER_TOKEN where one is set: it lives for an hour.",
}
MODES = frozenset(_SETTINGS)

MODE_ENVIRONMENT = {"vertex": {"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"}}
"""Variables for the agent's program: Vertex AI refuses beta features that it does not know yet.
https://code.claude.com/docs/en/llm-gateway"""

Renew = Callable[[], Awaitable[ModelCredentials]]


class ModelServer:
    """Use between ``open`` and ``close``. ``renew`` gives the same credentials with a later end."""

    def __init__(self, credentials: ModelCredentials, *, clock: Clock, renew: Renew | None = None) -> None:
        if credentials.mode not in MODES:
            raise Invalid(
                f"The model access mode {credentials.mode!r} is not supported by the broker.",
                code="model_mode_unsupported",
                hint=f"Use one of: {', '.join(sorted(MODES))}.",
            )
        self.credentials = credentials
        self._clock = clock
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._renew_at = self._due(credentials)
        self._refusals = 0
        self._denied: asyncio.Future[Denial] | None = None

    async def open(self) -> None:
        base_url = self.credentials.base_url
        self._denied = asyncio.get_running_loop().create_future()
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT,
            limits=_LIMITS,
            trust_env=not _is_loopback(base_url),  # a proxy may lead out, but never to this machine itself
            verify=base_url.startswith("https:"),  # plain http has no certificates, and loading the list takes 50 ms
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def denied(self) -> Denial:
        """Returns once the credential has been refused for good."""
        assert self._denied is not None, "the server is not open"
        return await asyncio.shield(self._denied)

    @asynccontextmanager
    async def ask(
        self, path: str, query: str, received: list[tuple[bytes, bytes]], asked: ModelRequest
    ) -> AsyncIterator[httpx.Response]:
        """The answer, as its head has come. Raises ``httpx.HTTPError``, and what ``renew`` raises once the credential is over."""
        await self._freshen()
        response = await self._client.send(self._request(path, query, received, asked), stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    def _request(
        self, path: str, query: str, received: list[tuple[bytes, bytes]], asked: ModelRequest
    ) -> httpx.Request:
        credentials = self.credentials
        target, body = f"{path}?{query}" if query else path, asked.body
        if credentials.mode == "vertex":
            body = vertex_body(path, body)
            target = vertex_path(
                path,
                project=credentials.project,
                region=credentials.region,
                model=asked.model,
                streamed=asked.streamed,
            )
        return self._client.build_request(
            "POST",
            f"{credentials.base_url}{target}",
            headers=headers_up(received, credentials.headers),
            content=body,
        )

    def judge(self, status: int, words: bytes) -> None:
        """Learns from an answer whether the credential is good. ``words``: the beginning of an error's body."""
        if status == 200:
            self._refusals = 0
        if status not in (401, 403):
            return
        if self.credentials.expires_at:
            self._renew_at = self._clock()  # refused before its time; the next request gets another
        self._refusals += 1
        if self._refusals >= DEFINITE_REFUSALS and self._denied is not None and not self._denied.done():
            told = _told(words)
            self._denied.set_result(
                Denial(
                    message=f"The model's server refuses this installation's credential: {status} {told}".rstrip(),
                    hint=_SETTINGS[self.credentials.mode],
                    status=status,
                )
            )

    async def _freshen(self) -> None:
        if self._renew is None or not self.credentials.expires_at or self._clock() < self._renew_at:
            return
        async with self._renewing:
            if self._clock() < self._renew_at:
                return
            try:
                self.credentials = await self._renew()
            except PullwrightError:
                if self._clock() >= self.credentials.expires_at:
                    raise
                self._renew_at = later(self._clock(), _RENEW_AGAIN)  # it still holds for a while
            else:
                self._renew_at = self._due(self.credentials)

    def _due(self, credentials: ModelCredentials) -> Instant:
        """Half of what is left when that is less: a token that lives for minutes must not be asked for all the time."""
        left = credentials.expires_at - self._clock()
        return Instant(credentials.expires_at - min(RENEW_BEFORE, max(left, 0) // 2))


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Body(msgspec.Struct, frozen=True):
    error: _Error = _Error()


def _told(words: bytes) -> str:
    """The server's own words, in the API's shape or in Google's."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(words, type=_Body).error.message[:500]
    return words.decode("utf-8", "replace").strip()[:500]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
