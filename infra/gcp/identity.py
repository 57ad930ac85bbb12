"""Google's identity tokens (OpenID Connect): is the caller who it says, and is it talking to us?

Accepted is RS256 with one of Google's published keys, Google as the issuer, exactly our audience, a live token, and the
e-mail of a service account that may call. Nothing else about a request proves anything: on a public address everybody can
send ``X-CloudTasks-…`` headers. https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken

In front of a service with Cloud Run's own invoker check the front end verifies the token and then replaces its signature by
a fixed text, so that no service can pass a caller's token on. Only a service that stands behind that check may believe such
a token. https://cloud.google.com/run/docs/troubleshooting#signature-removed
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from infra.core.clock import HOUR, MINUTE, SECOND, Clock, Instant, later
from infra.core.errors import Unauthenticated, Unavailable

CERTS_URL = "https://www.googleapis.com/oauth2/v3/certs"
ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})

_REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
_MAX_TOKEN_CHARACTERS = 8192
_KEPT = HOUR
"""Google keeps a new key published for longer than this before it signs with it."""

_REFRESH_PAUSE = MINUTE
"""Tokens that name an unknown key make us look for new keys at most this often."""

_LEEWAY = 10 * SECOND
_CLAIMS = ("iss", "aud", "exp", "iat", "email")


@dataclass(slots=True)
class GoogleKeys:
    """Google's public keys by id, kept for an hour. ``certs_url`` answers with a JWK set."""

    clock: Clock
    certs_url: str = CERTS_URL
    transport: httpx.AsyncBaseTransport | None = None
    _keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict)
    _asked_at: Instant | None = None
    _good_until: Instant | None = None

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Raises ``Unavailable`` when there are no keys at all and none can be had."""
        now = self.clock()
        stale = self._good_until is None or now >= self._good_until
        may_ask = self._asked_at is None or now - self._asked_at >= _REFRESH_PAUSE
        if (stale or key_id not in self._keys) and (may_ask or not self._keys):
            await self._refresh(now)
        return self._keys.get(key_id)

    async def _refresh(self, now: Instant) -> None:
        self._asked_at = now
        try:
            async with httpx.AsyncClient(timeout=5.0, trust_env=False, transport=self.transport) as http:
                response = await http.get(self.certs_url)
            keys = jwt.PyJWKSet.from_dict(response.raise_for_status().json()).keys
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            if self._keys:  # known keys stay good enough while Google's address is down
                return
            raise Unavailable(
                f"Google's public keys cannot be had from {self.certs_url} ({type(error).__name__}).",
                code="no_google_keys",
                hint="Check the network; callers will try again.",
            ) from error
        self._keys = {key.key_id: key for key in keys if key.key_id}
        self._good_until = later(now, _KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleCallers:
    """``audience``: what tokens must be for; ``emails``: the service accounts that may call.

    ``behind_invoker_check``: Cloud Run has verified the token and removed its signature.
    """

    keys: GoogleKeys
    audience: str
    emails: frozenset[str]
    clock: Clock
    behind_invoker_check: bool = False

    async def verify(self, token: str) -> str:
        """The caller's e-mail. Raises ``Unauthenticated`` with a code for each way in which a token can be wrong."""
        claims = await self._claims(token)
        self._check_time(claims)
        if claims["iss"] not in ISSUERS:
            raise _refused("is not from Google", "foreign_issuer")
        if claims["aud"] != self.audience:
            raise _refused("is for somebody else", "wrong_audience", f"Ask for a token for {self.audience}.")
        email = str(claims["email"])
        if claims.get("email_verified") is not True or not _is_one_of(email, self.emails):
            raise _refused("is of an account that may not call this", "foreign_account")
        return email

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise _refused("is not valid", "invalid_identity_token")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "RS256":
                raise _refused("is not signed with RS256", "invalid_identity_token")
            key = await self._key(token, str(header.get("kid", "")))
            options: Any = {
                "require": list(_CLAIMS),
                "verify_signature": bool(key),
                "verify_aud": False,  # claims are compared below, with errors that say which one was wrong
                "verify_exp": False,
                "verify_iat": False,
            }
            claims: dict[str, Any] = jwt.decode(token, key or "", algorithms=["RS256"], options=options)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _refused("is not valid", "invalid_identity_token") from error
        if any(claims.get(name) is None for name in _CLAIMS):
            raise _refused("lacks a claim", "invalid_identity_token")
        return claims

    async def _key(self, token: str, key_id: str) -> jwt.PyJWK | None:
        """None when the signature was verified and removed in front of us."""
        if token.rpartition(".")[2] == _REMOVED:
            if self.behind_invoker_check:
                return None
            raise _refused(
                "arrived without its signature",
                "signature_removed",
                "Cloud Run's invoker check removes it: switch that check off for this service, or set INVOKER_IAM_CHECK.",
            )
        key = await self.keys.find(key_id)
        if key is None:
            raise _refused("is signed with an unknown key", "unknown_key")
        return key

    def _check_time(self, claims: Mapping[str, Any]) -> None:
        now = self.clock()
        try:
            begins, ends = int(claims["iat"]) * SECOND, int(claims["exp"]) * SECOND
        except (TypeError, ValueError) as error:
            raise _refused("is not valid", "invalid_identity_token") from error
        if ends + _LEEWAY <= now:
            raise _refused("has expired", "expired_identity_token")
        if begins - _LEEWAY > now:
            raise _refused("is from the future", "invalid_identity_token")


def _is_one_of(email: str, emails: frozenset[str]) -> bool:
    return any(hmac.compare_digest(email.encode(), known.encode()) for known in emails)


def _refused(why: str, code: str, hint: str = "") -> Unauthenticated:
    return Unauthenticated(f"The identity token {why}.", code=code, hint=hint)
