"""How Google's asynchronous clients are made and how long they try: alike for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.api_core import exceptions as google
from google.api_core.retry import AsyncRetry, if_exception_type

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

TIMEOUT_SECONDS = 10.0
"""Of one attempt, and of all attempts together; nobody waits longer for an answer."""

_PASSING = (google.ServiceUnavailable, google.InternalServerError, google.TooManyRequests, google.DeadlineExceeded)


class _Client(Protocol):
    @property
    def transport(self) -> Any: ...


C = TypeVar("C", bound=_Client)


def connect(kind: type[C], endpoint: str, credentials: Credentials | None) -> C:
    """A client at ``endpoint`` (host or host:port, TLS). Without ``credentials`` the program's own identity is used.

    To be called inside the event loop that the client's channel will belong to.
    """
    made: Any = kind
    client: C = made(credentials=credentials, client_options={"api_endpoint": endpoint})
    return client


async def close(client: _Client | None) -> None:
    if client is not None:
        await client.transport.close()


def patient() -> AsyncRetry:
    """Repeats what quota, a crash or a pause at Google's end prevented; only for calls that may be repeated."""
    return AsyncRetry(if_exception_type(*_PASSING), initial=0.1, maximum=2.0, timeout=TIMEOUT_SECONDS)


def careful() -> AsyncRetry:
    """Repeats only what was certainly not done: a call over quota."""
    return AsyncRetry(if_exception_type(google.TooManyRequests), initial=0.5, maximum=4.0, timeout=TIMEOUT_SECONDS)
