"""Google Cloud's resources as JSON, read-only, in the name of the person who asks. For the doctor, who must be able to say
"you may not see this" and "this is not there" apart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from infra.core.errors import Unavailable
from infra.gcp.errors import no_credentials

APIS: Mapping[str, str] = {
    name: f"https://{name}.googleapis.com"
    for name in (
        "cloudresourcemanager",
        "cloudtasks",
        "firestore",
        "iam",
        "run",
        "secretmanager",
        "serviceusage",
        "storage",
    )
}
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_SCOPE = "https://www.googleapis.com/auth/cloud-platform.read-only"


@dataclass(frozen=True, slots=True)
class Seen:
    """``status``: 200, 403 (may not be seen), 404 (is not there) or another; ``content`` is empty unless 200."""

    status: int
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        return self.status == 200

    @property
    def hidden(self) -> bool:
        return self.status in {401, 403}


@dataclass(slots=True)
class Console:
    """Use as an async context manager. ``token`` gives an access token; ``apis``: base address by API."""

    token: Callable[[], Awaitable[str]]
    apis: Mapping[str, str] = field(default_factory=lambda: APIS)
    _http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, headers={"authorization": f"Bearer {await self.token()}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None
        await self._http.aclose()

    async def look(self, api: str, path: str, *, method: str = "GET", body: Any = None) -> Seen:
        """Raises ``Unavailable`` when Google cannot be reached at all."""
        assert self._http is not None, "use the console as a context manager"
        url = f"{self.apis[api].rstrip('/')}/{path}"
        try:
            response = await self._http.request(method, url, json=body)
        except httpx.TransportError as error:
            raise Unavailable(
                f"{self.apis[api]} cannot be reached ({type(error).__name__}).",
                code="google_unreachable",
                hint="Check the network, and HTTPS_PROXY if there is one.",
            ) from error
        return Seen(response.status_code, response.json() if response.status_code == 200 else {})

    async def policy(self, api: str, path: str, *, method: str = "GET") -> Mapping[str, frozenset[str]] | None:
        """Members by role; None when it may not be seen."""
        seen = await self.look(api, f"{path}:getIamPolicy", method=method, body={} if method == "POST" else None)
        if not seen.there:
            return None
        members: dict[str, frozenset[str]] = {}
        for binding in seen.content.get("bindings", []):
            members[binding["role"]] = members.get(binding["role"], frozenset()) | frozenset(binding["members"])
        return members

    async def health(self, url: str) -> tuple[int, float | None]:
        """The status of an address without any credentials, 0 for none, and Google's clock there (seconds since 1970)."""
        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            try:
                response = await http.get(url)
            except httpx.TransportError:
                return 0, None
        date = response.headers.get("date")
        return response.status_code, parsedate_to_datetime(date).timestamp() if date else None


async def own_token() -> str:
    """Of whoever is signed in here. Raises ``Unavailable`` with what to type when nobody is."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    def fetch() -> str:
        credentials: Any = google.auth.default(scopes=[_SCOPE])[0]
        credentials.refresh(Request())
        return str(credentials.token)

    try:
        return await asyncio.to_thread(fetch)
    except GoogleAuthError as error:
        raise no_credentials(error) from error
