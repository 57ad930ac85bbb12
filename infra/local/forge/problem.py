"""How the forge says no: one exception, in GitHub's error shape.

``{"message", "errors"?, "documentation_url", "status"}`` – https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = "https://docs.github.com/rest"


class Refusal(Exception):
    """Answered to the client as it stands. ``errors`` are GitHub's per-field problems."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[Mapping[str, str] | str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def shape(self) -> dict[str, Any]:
        problems = {"errors": list(self.errors)} if self.errors else {}
        return {
            "message": self.message,
            **problems,
            "documentation_url": DOCUMENTATION,
            "status": str(self.status),
        }


def not_found(message: str = "Not Found") -> Refusal:
    """Also the answer for what the caller may not know about, as on GitHub."""
    return Refusal(404, message)


def validation_failed(resource: str, *, field: str = "", code: str = "invalid", message: str = "") -> Refusal:
    """``code``: missing, missing_field, invalid, already_exists, custom (then ``message`` says it)."""
    error = {"resource": resource, "field": field, "code": code, "message": message}
    return Refusal(422, "Validation Failed", errors=[{key: value for key, value in error.items() if value}])
