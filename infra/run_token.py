"""Run tokens: what a runner shows the gateway. A JWT (HS256) for one run and one launch of it.

Signed rather than stored: the sweeper can make the same token again for a task that was lost, and the store holds
nothing that could be stolen. A newer launch, or the end of the run, makes a token worthless at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import jwt

from infra.core.clock import MINUTE, SECOND, Instant, later
from infra.core.errors import Unauthenticated
from infra.core.ids import RunId, parse_run_id
from infra.core.run import ATTACH_WINDOW, Run

_ALGORITHM = "HS256"
_AUDIENCE = "pullwright-gateway"
_GRACE = 45 * MINUTE
"""Waiting in the queue and publishing, on top of the run's own wall-clock limit."""


@dataclass(frozen=True, slots=True)
class RunClaims:
    run_id: RunId
    launch: int


def mint(key: bytes, run: Run) -> str:
    """The same run and launch always give the same token."""
    waiting = ATTACH_WINDOW if run.attach else 0
    expires = later(run.launched_at, waiting + run.limits.wall_seconds * SECOND + _GRACE)
    claims = {
        "aud": _AUDIENCE,
        "sub": run.id,
        "launch": run.launch,
        "iat": run.launched_at // 1000,
        "exp": expires // 1000,
    }
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def read(key: bytes, token: str, now: Instant) -> RunClaims:
    """Raises ``Unauthenticated`` for anything not minted with ``key``, and distinctly for an expired token."""
    options = {"require": ["aud", "sub", "exp"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, key, algorithms=[_ALGORITHM], audience=_AUDIENCE, options=options)  # type: ignore[arg-type]  # PyJWT's Options type lags its documentation
        expires, launch = int(claims["exp"]), int(claims["launch"])
        run_id = parse_run_id(str(claims["sub"]))
    except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
        raise Unauthenticated(
            "The run token is not valid.", code="invalid_run_token", hint="Use the token shown when the run was made."
        ) from error
    if expires * 1000 <= now:
        raise Unauthenticated("The run token has expired.", code="expired_run_token", hint="Start a new run.")
    return RunClaims(run_id=run_id, launch=launch)
