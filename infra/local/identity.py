"""The local twin of Google's identity tokens: short JWTs that the local queue and scheduler carry, for one audience."""

from __future__ import annotations

import jwt

from infra.core.clock import MINUTE, Instant, later
from infra.core.errors import Unauthenticated

_ALGORITHM = "HS256"
_ISSUER = "pullwright-local"


def issue(key: bytes, *, audience: str, now: Instant) -> str:
    claims = {"iss": _ISSUER, "aud": audience, "iat": now // 1000, "exp": later(now, 10 * MINUTE) // 1000}
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def verify(key: bytes, token: str, *, audience: str, now: Instant) -> None:
    """Raises ``Unauthenticated`` for anything but a live token for this audience."""
    options = {"require": ["iss", "aud", "exp"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, key, algorithms=[_ALGORITHM], audience=audience, issuer=_ISSUER, options=options)  # type: ignore[arg-type]  # PyJWT's Options type lags its documentation
        live = int(claims["exp"]) * 1000 > now
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Unauthenticated("The identity token is not valid.", code="invalid_identity_token") from error
    if not live:
        raise Unauthenticated("The identity token has expired.", code="expired_identity_token")
