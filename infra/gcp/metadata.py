"""The metadata server: who this program is, and tokens in that name.

https://cloud.google.com/run/docs/securing/service-identity#access_tokens
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import msgspec

from infra.core.clock import MINUTE, SECOND, Clock, Instant, later
from infra.core.errors import Unavailable
from infra.core.forge import AccessToken

METADATA_HOST = "metadata.google.internal"

_FRESH = 5 * MINUTE
"""A token is asked for anew this long before it ends. The server itself keeps one for as long as it is good."""

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


class _AccessTokenReply(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


@dataclass(slots=True)
class Metadata:
    """``host`` with a port when it is not 80. Each question raises ``Unavailable`` where there is no such server."""

    clock: Clock
    host: str = METADATA_HOST
    transport: httpx.AsyncBaseTransport | None = None
    _access: AccessToken | None = None
    _http: httpx.AsyncClient | None = field(default=None, init=False)

    async def access_token(self) -> AccessToken:
        """For Google's APIs (Vertex AI among them), in the name of this program's service account."""
        if self._access is None or later(self.clock(), _FRESH) >= self._access.expires_at:
            reply = msgspec.json.decode(
                await self._ask("instance/service-accounts/default/token"), type=_AccessTokenReply
            )
            expires_at = later(self.clock(), reply.expires_in * SECOND)
            self._access = AccessToken(value=reply.access_token, expires_at=Instant(expires_at))
        return self._access

    async def identity_token(self, audience: str) -> str:
        """Proves this program's identity to ``audience``, with its e-mail in it."""
        query = {"audience": audience, "format": "full"}
        return (await self._ask("instance/service-accounts/default/identity", query)).decode()

    async def email(self) -> str:
        """Of this program's service account."""
        return (await self._ask("instance/service-accounts/default/email")).decode()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def _ask(self, path: str, query: dict[str, str] | None = None) -> bytes:
        if self._http is None:
            self._http = httpx.AsyncClient(
                base_url=f"http://{self.host}/computeMetadata/v1/",
                headers={"metadata-flavor": "Google"},
                timeout=_TIMEOUT,
                trust_env=False,
                # plain http, as that server has it: the list of certificates, which takes 40 ms to load, is not needed
                transport=self.transport or httpx.AsyncHTTPTransport(retries=2, verify=False),
            )
        try:
            response = await self._http.get(path, params=query)
        except httpx.TransportError as error:
            raise _silent(self.host, type(error).__name__) from error
        if response.status_code != 200:
            raise _silent(self.host, f"status {response.status_code}")
        return response.content


def _silent(host: str, why: str) -> Unavailable:
    return Unavailable(
        f"The metadata server {host} gave no answer ({why}).",
        code="no_metadata_server",
        hint="It exists inside Google Cloud only; elsewhere set PLATFORM=local.",
    )
