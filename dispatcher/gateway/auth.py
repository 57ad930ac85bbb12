"""Who a runner is: a run token of the newest launch, and a fresh signature over this very request."""

from __future__ import annotations

from dispatcher.call import MIB, Call
from infra import run_token
from infra.core.access import content_digest, signing_key, verify_signature
from infra.core.artifacts import check_sha256
from infra.core.errors import Conflict, Forbidden
from infra.core.ids import RunId, parse_run_id
from infra.core.run import Run
from infra.platform_secrets import RUN_TOKEN_KEY

MAX_BODY = 32 * MIB
"""Cloud Run's limit for an HTTP/1 request that is not streamed. https://cloud.google.com/run/quotas"""


async def authenticate(call: Call, token: str, *, streamed: bool = False) -> None:
    """Sets the call's run. The body is read first and checked – or, where it is ``streamed``, its announced digest is
    what was signed, and whoever reads the body checks it. Raises ``Unauthenticated`` (token, signature, clock, replay: each its own code), ``Forbidden``
    for another run's path, ``Conflict`` when a newer launch has replaced this one."""
    services, headers = call.services, call.request.headers
    now = services.clock()
    claims = run_token.read(await services.platform.one(RUN_TOKEN_KEY), token, now)
    key = signing_key(token, services.settings.hmac_secret)
    nonce = headers.get("x-pullwright-nonce", "")
    verify_signature(
        key,
        headers.get("x-pullwright-signature", ""),
        timestamp=headers.get("x-pullwright-timestamp", ""),
        nonce=nonce,
        method=call.request.method,
        target=_target(call),
        digest=_announced(call) if streamed else content_digest(await call.body(MAX_BODY)),
        now=now,
    )
    _check_path(call, claims.run_id)
    await services.nonces.use(claims.run_id, nonce, now)
    check_launch(await services.runs.get(claims.run_id), claims.launch)
    call.run_id, call.launch = claims.run_id, claims.launch


def check_launch(run: Run, launch: int) -> None:
    """Raises ``Conflict`` (``launch_superseded``) when ``launch`` is not the run's newest."""
    if run.launch != launch:
        raise Conflict(
            f"A newer attempt has taken over run {run.id}.",
            code="launch_superseded",
            hint="Stop; nothing is left to do here.",
        )


def _announced(call: Call) -> str:
    call.announced = check_sha256(call.request.headers.get("x-pullwright-content-sha256", ""))
    return call.announced


def _target(call: Call) -> str:
    query = call.request.url.query
    return f"{call.request.url.path}?{query}" if query else call.request.url.path


def _check_path(call: Call, run_id: RunId) -> None:
    named = call.request.path_params.get("run_id")
    if named is not None and parse_run_id(named) != run_id:
        raise Forbidden(
            "The token belongs to another run.", code="foreign_run", hint="Each run has a token of its own."
        )
