"""The log of tool calls: one JSON object a line, each holding the digest of the line before it. Pure.

Who changes, removes or reorders a line breaks the chain from there on; the digest of the last line is told in the run's timeline, so
that a log which was cut off at its end shows too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

from infra.core.clock import Instant
from infra.core.errors import Invalid

VERSION = 1
FIRST = "0" * 64
"""What the first line names as the digest before it."""


def record_line(number: int, at: Instant, before: str, said: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line, its newline included, and its digest. ``number`` counts from 1; ``said`` holds JSON values only, no secret."""
    record = {"v": VERSION, "n": number, "at": at, **said, "before": before}
    digest = _digest(record)
    return json.dumps({**record, "digest": digest}, ensure_ascii=True, separators=(",", ":")).encode() + b"\n", digest


def check_records(lines: Iterable[bytes]) -> tuple[int, str]:
    """How many lines there are, and the last one's digest (``FIRST`` for none). Raises ``Invalid`` naming the line that does not fit."""
    number, before = 0, FIRST
    for number, line in enumerate(lines, 1):
        record = _parsed(line, number)
        digest = record.pop("digest", "")
        follows = (record.get("n"), record.get("before")) == (number, before)
        if not follows or not hmac.compare_digest(str(digest), _digest(record)):
            raise Invalid(
                f"Line {number} of the tool log does not follow from the lines before it.", code="broken_tool_log"
            )
        before = digest
    return number, before


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise Invalid(f"Line {number} of the tool log is not JSON.", code="broken_tool_log") from error
    if not isinstance(record, dict):
        raise Invalid(f"Line {number} of the tool log is no record.", code="broken_tool_log")
    return record


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
