"""The one place where errors become HTTP: one JSON shape, one status per kind."""

from __future__ import annotations

import logging

from starlette.responses import Response

from dispatcher.call import reply
from infra.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PullwrightError,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Upstream,
)

_STATUS: tuple[tuple[type[PullwrightError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (RateLimited, 429),
    (Invalid, 422),
    (Unavailable, 503),
    (Upstream, 502),
)
_BY_CODE = {"malformed_json": 400, "slow_body": 408, "method_not_allowed": 405}

_log = logging.getLogger("dispatcher")


def status_of(error: PullwrightError) -> int:
    by_kind = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return _BY_CODE.get(error.code, by_kind)


def error_body(*, code: str, message: str, hint: str, request_id: str) -> dict[str, dict[str, str]]:
    return {"error": {"code": code, "message": message, "hint": hint, "request_id": request_id}}


def error_reply(error: PullwrightError, request_id: str) -> Response:
    headers = {}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    body = error_body(code=error.code, message=error.message, hint=error.hint, request_id=request_id)
    return reply(body, status_of(error), headers)


def crash_reply(error: Exception, request_id: str) -> Response:
    """For what nobody foresaw: the trace goes to the log, the caller gets a number to quote."""
    _log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
    body = error_body(
        code="internal_error",
        message="Something unexpected went wrong on our side.",
        hint="Try again; if it stays, look for the request id in the dispatcher's log.",
        request_id=request_id,
    )
    return reply(body, 500)
