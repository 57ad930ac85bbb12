"""One request on its way through a handler: bounded body, strict JSON, the caller once the access rule has passed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from dispatcher.services import Services
from infra.core.access import ApiKey
from infra.core.errors import Invalid, TooLarge
from infra.core.ids import RunId, parse_run_id

KIB = 1024
MIB = 1024 * KIB

BODY_SECONDS = 20.0
"""Time for a whole body to arrive, or for the next piece of a streamed one; a sender that trickles bytes is cut off."""

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """``key`` is set by routes that need an API key, ``run_id`` and ``launch`` by routes for runners; ``announced`` is the
    SHA-256 that a streamed body must turn out to have."""

    request: Request
    services: Services
    request_id: str
    key: ApiKey | None = None
    run_id: RunId | None = None
    launch: int = 0
    announced: str = ""
    _body: bytes | None = None

    @property
    def caller(self) -> str:
        """Who asked, as shown in records."""
        if self.key:
            return f"key {self.key.name}"
        return f"runner of {self.run_id}" if self.run_id else "unknown"

    def path_run_id(self) -> RunId:
        return parse_run_id(self.request.path_params["run_id"])

    def idempotency_key(self) -> str:
        """The caller's own name for this request, empty without one; of one key's holder it never meets another's.
        Raises ``Invalid``."""
        text = self.request.headers.get("idempotency-key", "")
        if text and _IDEMPOTENCY_KEY.fullmatch(text) is None:
            raise Invalid(
                "The Idempotency-Key is not 1 to 255 visible ASCII characters.", code="invalid_idempotency_key"
            )
        holder = self.key.id if self.key else ""
        return text and f"{holder}.{hashlib.sha256(text.encode()).hexdigest()}"

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A query parameter as a whole number within bounds. Raises ``Invalid`` naming it."""
        text = self.request.query_params.get(name)
        return default if text is None else whole_number(text, name, low, high)

    async def body(self, limit: int = MIB) -> bytes:
        """The whole body. Raises ``TooLarge`` (before reading when its length is announced) and ``Invalid`` when it is too slow."""
        if self._body is None:
            self._body = await _read(self.request, limit)
        return self._body

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """The body piece by piece. Raises ``TooLarge``, ``Invalid`` when a piece is too slow, and at the end (code
        ``checksum_mismatch``) when it is not the body that was announced."""
        _check_announced(self.request, limit)
        digest, size, more = hashlib.sha256(), 0, True
        while more:
            async with _in_time():
                message = await self.request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            digest.update(piece)
            more = message.get("more_body", False)
            if piece:
                yield piece
        if not hmac.compare_digest(digest.hexdigest(), self.announced):
            raise Invalid(
                "The body does not have the announced checksum.",
                code="checksum_mismatch",
                hint="X-Pullwright-Content-SHA256 is the SHA-256 of the body as sent.",
            )

    async def decode(self, kind: type[T], limit: int = MIB) -> T:
        """The body as ``kind``. Raises ``Invalid`` naming the place and what was expected there."""
        raw = await self.body(limit)
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError as error:
            raise Invalid(
                f"The body does not fit: {str(error).replace('`$.', '`')}.",
                code="invalid_body",
                hint="docs/api.md shows the fields.",
            ) from error
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise Invalid(
                "The body is not JSON.", code="malformed_json", hint="Send one JSON object in UTF-8."
            ) from error


async def _read(request: Request, limit: int) -> bytes:
    _check_announced(request, limit)
    async with _in_time():
        return await _collect(request.receive, limit)


def _check_announced(request: Request, limit: int) -> None:
    """A body that says it is too large is not read at all."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            yield
    except TimeoutError:
        raise Invalid(
            "The body took too long to arrive.", code="slow_body", hint=f"Send it within {BODY_SECONDS:.0f} seconds."
        ) from None


async def _collect(receive: Receive, limit: int) -> bytes:
    """The body's pieces in one; read as ASGI gives them, because nearly all bodies are a single piece."""
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit // KIB:,} KiB.",
        code="body_too_large",
        hint="Send less; put long material into the repository.",
    )


def whole_number(text: str, name: str, low: int, high: int) -> int:
    """Raises ``Invalid`` (``invalid_NAME``) for anything but a whole number within bounds."""
    if not text.isascii() or not text.isdecimal() or len(text) > 16 or not low <= int(text) <= high:
        raise Invalid(f"{name} is not a whole number from {low} to {high}.", code=f"invalid_{name}")
    return int(text)


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=headers)
