"""GitHub's own words in an error answer, made fit to be shown and stored."""

from __future__ import annotations

from typing import Any

import msgspec

LONGEST = 500


class _Problem(msgspec.Struct, frozen=True):
    """https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api; ``errors`` has many forms."""

    message: str = ""
    errors: Any = None


def words(body: bytes) -> str:
    """What went wrong, as one line that ends with a full stop: the message and the texts of ``errors``."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "no reason that could be read."
    details = problem.errors if isinstance(problem.errors, list) else [problem.errors]
    said = clean("; ".join(part for part in (problem.message, *map(_detail, details[:10])) if part))
    return f"{said.rstrip('.')}." if said else "no reason given."


def clean(text: str) -> str:
    """One printable line of bounded length."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST]).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _detail(error: object) -> str:
    match error:
        case str():
            return error
        case {"message": str() as message}:
            return message
        case {"resource": str() as resource, "field": str() as name, "code": str() as code}:
            return f"{resource}.{name} {code}"
        case _:
            return ""
