"""Who may call: API keys, run tokens' hashes and request signatures. Pure; secrets arrive as arguments.

API keys look like ``pw_<id>_<secret>``: the id is public and finds the record, the secret (160 bits) is stored only as
SHA-256, which is enough for a random value of that size. All comparisons take constant time.

A runner signs each request: HMAC-SHA256 over timestamp, nonce, method, path with query, and the body's SHA-256, with a key
derived from its own run token (and ``HMAC_SECRET`` where both sides have one), so no signing key is shared between runs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from infra.core.clock import MINUTE, Instant
from infra.core.errors import Unauthenticated
from infra.core.ids import Entropy, new_token

SIGNATURE_WINDOW = 5 * MINUTE

_KEY = re.compile(r"pw_([0-9a-z]{12})_([0-9a-z]{32})")
_SIGNATURE_LABEL = b"pullwright request signature v1"


class Permission(StrEnum):
    """Each includes the ones before it."""

    READ = "read"
    EXECUTE = "execute"
    ADMIN = "admin"


_RANK = {Permission.READ: 0, Permission.EXECUTE: 1, Permission.ADMIN: 2}


def allows(held: Permission, needed: Permission) -> bool:
    return _RANK[held] >= _RANK[needed]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The stored record of a key; the key itself is shown once and kept nowhere."""

    id: str
    name: str
    permission: Permission
    secret_hash: str
    created_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def new_api_key(
    *, name: str, permission: Permission, now: Instant, entropy: Entropy, expires_at: Instant | None = None
) -> tuple[str, ApiKey]:
    """The text to show once, and the record to store."""
    key_id, secret = new_token(entropy, 12), new_token(entropy, 32)
    record = ApiKey(
        id=key_id,
        name=name,
        permission=permission,
        secret_hash=hash_secret(secret),
        created_at=now,
        expires_at=expires_at,
    )
    return f"pw_{key_id}_{secret}", record


def key_id(text: str) -> str | None:
    """The public part of a presented key, None when it cannot be one."""
    match = _KEY.fullmatch(text)
    return match.group(1) if match else None


def verify_api_key(text: str, record: ApiKey | None, now: Instant) -> ApiKey:
    """Raises ``Unauthenticated``, with one and the same message for unknown, wrong, expired and revoked keys."""
    match = _KEY.fullmatch(text)
    presented = hash_secret(match.group(2) if match else "")
    stored = record.secret_hash if record else hash_secret("no such key")
    same = hmac.compare_digest(presented.encode(), stored.encode())
    live = record is not None and record.revoked_at is None and (record.expires_at is None or record.expires_at > now)
    if match is None or record is None or not same or not live:
        raise Unauthenticated(
            "The API key is not valid.",
            code="invalid_api_key",
            hint="Send an active key as: Authorization: Bearer pw_…",
        )
    return record


def signing_key(run_token: str, hmac_secret: str = "") -> bytes:
    """Both sides derive it; it is never sent."""
    return hmac.new(hmac_secret.encode(), _SIGNATURE_LABEL + b"\0" + run_token.encode(), hashlib.sha256).digest()


def sign(key: bytes, *, timestamp: Instant, nonce: str, method: str, target: str, body: bytes) -> str:
    """Hex HMAC-SHA256. ``target`` is the path with its query string, exactly as sent."""
    digest = content_digest(body)
    return _signature(key, timestamp=timestamp, nonce=nonce, method=method, target=target, digest=digest)


def content_digest(body: bytes) -> str:
    """What stands for the body in a signature; a body that is streamed announces it in a header."""
    return hashlib.sha256(body).hexdigest()


def _signature(key: bytes, *, timestamp: Instant, nonce: str, method: str, target: str, digest: str) -> str:
    text = "\n".join((str(timestamp), nonce, method.upper(), target, digest))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def verify_signature(
    key: bytes, presented: str, *, timestamp: str, nonce: str, method: str, target: str, digest: str, now: Instant
) -> None:
    """``digest``: ``content_digest`` of the body. Raises ``Unauthenticated`` with a distinct code for a stale clock and for a wrong signature."""
    if not re.fullmatch(r"[0-9]{1,15}", timestamp, re.ASCII) or not re.fullmatch(r"[0-9a-z]{16,64}", nonce, re.ASCII):
        raise Unauthenticated(
            "The request is not signed.",
            code="unsigned_request",
            hint="Send X-Pullwright-Timestamp, -Nonce and -Signature.",
        )
    moment = Instant(int(timestamp))
    if abs(moment - now) > SIGNATURE_WINDOW:
        raise Unauthenticated(
            "The request's timestamp is more than five minutes off.",
            code="stale_request",
            hint="Set the machine's clock.",
        )
    expected = _signature(key, timestamp=moment, nonce=nonce, method=method, target=target, digest=digest)
    if not hmac.compare_digest(presented.encode(), expected.encode()):
        raise Unauthenticated(
            "The request's signature does not match.",
            code="invalid_signature",
            hint="HMAC_SECRET must be the same on both sides.",
        )
