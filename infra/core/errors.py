"""The error tree, drawn once; every error says what happened, why, and what to do next.

    PullwrightError
    ├── Invalid           the caller sent something that cannot be accepted        (400/422)
    ├── Unauthenticated   no valid proof of who is calling                         (401)
    ├── Forbidden         known caller, not allowed                                (403)
    ├── NotFound          the thing does not exist, or not for this caller         (404)
    ├── Conflict          somebody else was first, or the state does not allow it  (409)
    │   └── AlreadyExists a create-if-absent lost
    ├── TooLarge          over a documented limit                                  (413)
    ├── RateLimited       come back later; ``retry_after`` says when (seconds)     (429)
    ├── Unavailable       something of ours is down for now; safe to repeat        (503)
    └── Upstream          GitHub, the model or Google refused; carries their words (502)

The HTTP status in brackets is chosen at the edge (``dispatcher/api/errors.py``); the domain knows no HTTP.
"""

from __future__ import annotations


class PullwrightError(Exception):
    """Base of all errors that a person may read.

    ``code`` is stable and machine-readable, ``message`` one sentence of what happened,
    ``hint`` the next step for the reader (empty when there is none).
    """

    default_code = "error"

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.hint = hint


class Invalid(PullwrightError):
    default_code = "invalid_request"


class Unauthenticated(PullwrightError):
    default_code = "unauthenticated"


class Forbidden(PullwrightError):
    default_code = "forbidden"


class NotFound(PullwrightError):
    default_code = "not_found"


class Conflict(PullwrightError):
    default_code = "conflict"


class AlreadyExists(Conflict):
    default_code = "already_exists"


class TooLarge(PullwrightError):
    default_code = "too_large"


class RateLimited(PullwrightError):
    """``retry_after`` is in seconds."""

    default_code = "rate_limited"

    def __init__(self, message: str, *, code: str = "", hint: str = "", retry_after: float = 60.0) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after = retry_after


class Unavailable(PullwrightError):
    default_code = "unavailable"


class Upstream(PullwrightError):
    """An outside service refused. ``status`` is its HTTP status, 0 when no answer came."""

    default_code = "upstream_error"

    def __init__(self, message: str, *, code: str = "", hint: str = "", status: int = 0) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
