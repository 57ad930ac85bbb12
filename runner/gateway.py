"""The runner's only line to the platform: signed calls under one run's token, repeated until they are answered.

Every call is written to be repeated – claims renew, event batches are absorbed, settling twice gives the same answer –
so a lost answer or an outage of the dispatcher costs time and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from infra.core.access import content_digest, sign, signing_key
from infra.core.clock import Clock
from infra.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PullwrightError,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Upstream,
)
from infra.core.ids import Entropy, new_token
from infra.core.run import Ended, Fenced, Held
from infra.wire import (
    ArtifactPart,
    Beat,
    Claimed,
    ClaimRequest,
    CommandResult,
    Commands,
    CredentialsRequest,
    EventBatch,
    GitCredentials,
    Heartbeat,
    Ingested,
    McpCredentials,
    ModelCredentials,
    Release,
    Released,
    Settled,
    Settlement,
    StoredArtifact,
)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)

_BY_STATUS: dict[int, type[PullwrightError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: RateLimited,
    502: Upstream,
    503: Unavailable,
}
_BY_CODE: dict[str, type[PullwrightError]] = {
    "run_ended": Ended,
    "run_held": Held,
    "lease_lost": Fenced,
    "launch_superseded": Fenced,
}


class Away(Unavailable):
    """The platform did not answer, however often it was asked. No outcome of the run: its next attempt goes on from the checkpoint."""

    default_code = "gateway_away"


@dataclass(slots=True)
class Gateway:
    """Use as an async context manager. ``url`` without a trailing slash; ``transport``: httpx's own when there is none;
    ``trust_any``: certificates are not checked (``runner/connection.py`` says when that may be)."""

    url: str
    run_id: str
    token: str
    clock: Clock
    entropy: Entropy
    hmac_secret: str = ""
    trust_any: bool = False
    sleep: Sleep = asyncio.sleep
    transport: httpx.AsyncBaseTransport | None = None
    _http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        tls = self.url.startswith("https:")  # plain http has no certificates, and loading their list takes 30 ms
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=_TIMEOUT,
            trust_env=False,
            verify=tls and not self.trust_any,
            transport=self.transport,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def health(self) -> str:
        """One try. Raises ``httpx.HTTPError``, ``Unavailable``."""
        assert self._http is not None, "use the gateway as a context manager"
        response = await self._http.get("/health")
        if not response.is_success:
            raise _refusal(response)
        return f"{self.url} answers."

    async def claim(self, request: ClaimRequest) -> Claimed:
        """Raises ``Ended``, ``Held`` or ``Fenced`` when there is nothing to do for this runner."""
        return await self._post(f"/api/runs/{self.run_id}/claim", request, Claimed)

    async def heartbeat(self, beat: Heartbeat) -> Beat:
        return await self._post(f"/api/runs/{self.run_id}/heartbeat", beat, Beat)

    async def git_credentials(self, fence: int, kind: str) -> GitCredentials:
        return await self._post(
            f"/api/runs/{self.run_id}/credentials", CredentialsRequest(fence=fence, kind=kind), GitCredentials
        )

    async def model_credentials(self, fence: int) -> ModelCredentials:
        return await self._post(
            f"/api/runs/{self.run_id}/credentials", CredentialsRequest(fence=fence, kind="model"), ModelCredentials
        )

    async def commands(self, after: int, wait_seconds: int) -> Commands:
        """What people asked for since ``after``; an empty list when nothing came within the time."""
        target = f"/api/runs/{self.run_id}/commands?after={after}&wait={wait_seconds}"
        return await self._call("GET", target, b"", Commands)

    async def command_result(self, command_id: str, result: CommandResult) -> None:
        await self._answered(
            "POST", f"/api/runs/{self.run_id}/commands/{command_id}/result", msgspec.json.encode(result)
        )

    async def release(self, release: Release) -> Released:
        """Hands the run back. Raises ``Ended`` and ``Fenced`` when it is no longer ours to hand back."""
        return await self._post(f"/api/runs/{self.run_id}/release", release, Released)

    async def mcp_credentials(self, fence: int) -> McpCredentials:
        return await self._post(
            f"/api/runs/{self.run_id}/credentials", CredentialsRequest(fence=fence, kind="mcp"), McpCredentials
        )

    async def send_events(self, batch: EventBatch) -> Ingested:
        return await self._post("/api/ingest/event", batch, Ingested)

    async def send_artifact(self, name: str, fence: int, body: bytes) -> StoredArtifact:
        return await self._call("POST", f"/api/ingest/artifact?name={name}&fence={fence}", body, StoredArtifact)

    async def upload_state(self, query: str) -> ArtifactPart:
        """How far a file that is sent in parts has come; ``query`` names it (``runner/upload.py``)."""
        return await self._call("GET", f"/api/ingest/artifact?{query}", b"", ArtifactPart)

    async def send_part(self, query: str, part: bytes) -> ArtifactPart:
        """Raises ``Conflict`` (``offset_mismatch``) when another part is due."""
        return await self._call("POST", f"/api/ingest/artifact?{query}", part, ArtifactPart)

    async def artifact(self, name: str) -> bytes:
        """Raises ``NotFound``."""
        response = await self._answered("GET", f"/api/runs/{self.run_id}/artifacts/{name}", b"")
        return response.content

    async def settle(self, report: Settlement) -> Settled:
        return await self._post(f"/api/runs/{self.run_id}/settle", report, Settled)

    async def _post(self, target: str, body: msgspec.Struct, kind: type[T]) -> T:
        return await self._call("POST", target, msgspec.json.encode(body), kind)

    async def _call(self, method: str, target: str, body: bytes, kind: type[T]) -> T:
        response = await self._answered(method, target, body)
        return msgspec.json.decode(response.content, type=kind)

    async def _answered(self, method: str, target: str, body: bytes) -> httpx.Response:
        """The first answer that is not "try again". Raises what the gateway said, or ``Away`` after the last try."""
        last: PullwrightError = Unavailable(
            f"The gateway {self.url} did not answer.", hint="Check GATEWAY_URL and the network."
        )
        for attempt in range(ATTEMPTS):
            if attempt:
                await self.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS))
            try:
                response = await self._send(method, target, body)
            except httpx.TransportError as error:
                last = self._silent(type(error).__name__)
                continue
            if response.is_success:
                return response
            last = _refusal(response)
            if not isinstance(last, (RateLimited, Unavailable, Upstream)):
                raise last
        raise Away(last.message, hint=last.hint) from last

    def _silent(self, why: str) -> Unavailable:
        return Unavailable(f"The gateway {self.url} did not answer ({why}).", hint="Check GATEWAY_URL and the network.")

    async def _send(self, method: str, target: str, body: bytes) -> httpx.Response:
        assert self._http is not None, "use the gateway as a context manager"
        moment, nonce = self.clock(), new_token(self.entropy, 24)
        key = signing_key(self.token, self.hmac_secret)
        headers = {
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "x-pullwright-timestamp": str(moment),
            "x-pullwright-nonce": nonce,
            "x-pullwright-content-sha256": content_digest(body),
            "x-pullwright-signature": sign(key, timestamp=moment, nonce=nonce, method=method, target=target, body=body),
        }
        return await self._http.request(method, target, content=body, headers=headers)


def _refusal(response: httpx.Response) -> PullwrightError:
    """The gateway's error shape as the error it was."""
    try:
        error: dict[str, Any] = response.json()["error"]
        code, message, hint = str(error["code"]), str(error["message"]), str(error["hint"])
    except (ValueError, KeyError, TypeError):
        code, message, hint = (
            "gateway_error",
            f"The gateway answered {response.status_code}.",
            "Look at the dispatcher's log.",
        )
    kind = _BY_CODE.get(code) or _BY_STATUS.get(response.status_code, Unavailable)
    return kind(message, code=code, hint=hint)
