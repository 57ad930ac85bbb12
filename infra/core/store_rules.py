"""What every store checks before it does anything: writes, queries and the cursors between pages.

Checked here and not by the stores, so that a laptop refuses exactly what the cloud refuses.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from infra.core.content import measure
from infra.core.errors import Invalid, TooLarge
from infra.core.store import MAX_DOCUMENT_BYTES, Data, Query, Where, Write, check_path

MAX_WRITES = 500
"""Writes in one commit. Firestore's own limit is the request's size; the number keeps a local commit short."""

MAX_COMMIT_BYTES = 9_000_000
"""All documents of one commit, below Firestore's 10 MiB for a request. https://firebase.google.com/docs/firestore/quotas"""

MAX_PAGE = 1_000
MAX_CHOICES = 30
"""Values of one ``in``, and the product over all of them. https://firebase.google.com/docs/firestore/query-data/queries"""

MAX_INSTANT = 253_402_300_799_999
"""The last millisecond of the year 9999, the end of Firestore's and Python's calendars."""

_FIELD = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,99}(\.(?!__)[A-Za-z_][A-Za-z0-9_]{0,99}){0,9}")
_NAME_OVERHEAD = 16

Scalar = str | int | float | bool | None


def split_path(path: str) -> tuple[str, str]:
    """(collection, id) of a document path. Raises ``Invalid``."""
    collection, _, name = check_path(path).rpartition("/")
    return collection, name


def check_collection(collection: str) -> str:
    """A collection path has an odd number of segments. Raises ``Invalid``."""
    check_path(f"{collection}/x")
    return collection


def check_writes(writes: Sequence[Write]) -> None:
    """Raises ``Invalid`` for bad paths, contents or times and for two writes of one document, ``TooLarge`` over a limit."""
    if len(writes) > MAX_WRITES:
        raise TooLarge(f"{len(writes)} writes in one commit; {MAX_WRITES} are allowed.", code="too_many_writes")
    if len({write.path for write in writes}) != len(writes):
        raise Invalid("One commit may write each document once.", code="duplicate_path")
    total = 0
    for write in writes:
        check_path(write.path)
        _check_expiry(getattr(write, "expire_at", None))
        data: Data | None = getattr(write, "data", None)
        if data is not None:
            total += _check_size(write.path, data)
    if total > MAX_COMMIT_BYTES:
        raise TooLarge(f"One commit of {total:,} bytes; {MAX_COMMIT_BYTES:,} are allowed.", code="commit_too_large")


def _check_size(path: str, data: Data) -> int:
    size = measure(data) + len(path) + _NAME_OVERHEAD
    if size > MAX_DOCUMENT_BYTES:
        raise TooLarge(
            f"The document {path} has {size:,} bytes; {MAX_DOCUMENT_BYTES:,} are allowed.",
            code="document_too_large",
            hint="Keep long content as chunks or as an artifact, and its name in the document.",
        )
    return size


def _check_expiry(moment: Any) -> None:
    if moment is not None and (type(moment) is not int or not 0 <= moment <= MAX_INSTANT):
        raise Invalid(f"expire_at {moment!r} is not a time in milliseconds.", code="invalid_expiry")


def check_query(collection: str, query: Query) -> None:
    """Raises ``Invalid`` (code ``invalid_query``) for what not every store can answer with an index."""
    check_collection(collection)
    if not 1 <= query.limit <= MAX_PAGE:
        raise _refused(f"the limit is {query.limit}, not between 1 and {MAX_PAGE}")
    if query.order_by is not None:
        _check_field(query.order_by)
    elif query.descending:
        raise _refused("ids have an ascending order only (Firestore does not support descending key scans)")
    for condition in query.where:
        _check_field(condition.field)
        _check_condition(condition, query.order_by)
    if math.prod(len(item.value) for item in query.where if item.op == "in") > MAX_CHOICES:
        raise _refused(f"its “in” conditions have more than {MAX_CHOICES} combinations")


def _check_field(field: str) -> None:
    if _FIELD.fullmatch(field) is None:
        raise _refused(f"{field!r} is not the name of a field")


def _check_condition(condition: Where, order_by: str | None) -> None:
    if condition.op == "in":
        if type(condition.value) not in (list, tuple) or not all(map(_is_choice, condition.value)):
            raise _refused("“in” takes a list of texts, numbers or booleans")
    elif condition.op == "==":
        if condition.value is not None and not _is_choice(condition.value):
            raise _refused("only texts, numbers, booleans and null can be compared")
    elif condition.field != order_by:
        raise _refused(f"{condition.op} is allowed only on the field that orders the result")
    elif not _is_choice(condition.value):
        raise _refused("only texts, numbers and booleans have an order")


def _is_choice(value: Any) -> bool:
    if type(value) is str:
        return "\0" not in value and len(value) <= 400
    return (
        type(value) is bool
        or (type(value) is int and abs(value) < 2**63)
        or (type(value) is float and math.isfinite(value))
    )


def write_cursor(query: Query, name: str, value: Scalar = None) -> str:
    """Marks the place after the document ``name``, whose ``order_by`` field holds ``value``."""
    place = [name] if query.order_by is None else [name, value]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(query: Query) -> tuple[str, Scalar] | None:
    """What ``write_cursor`` was given, None for the first page. Raises ``Invalid`` (code ``invalid_cursor``)."""
    if query.after is None:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(query.after + "=" * (-len(query.after) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        raise _no_cursor() from None
    if type(place) is not list or len(place) != (1 if query.order_by is None else 2) or type(place[0]) is not str:
        raise _no_cursor()
    name, value = place[0], None if query.order_by is None else place[1]
    if value is not None and type(value) not in (str, int, float, bool):
        raise _no_cursor()
    try:
        check_path(f"x/{name}")
        measure({"value": value})
    except Invalid:
        raise _no_cursor() from None
    return name, value


def value_at(data: Data, field: str) -> Any:
    """The value of a dotted field; raises ``KeyError`` where there is none."""
    value: Any = data
    for key in field.split("."):
        if not isinstance(value, dict):
            raise KeyError(field)
        value = value[key]
    return value


def _refused(why: str) -> Invalid:
    return Invalid(f"This query cannot be answered: {why}.", code="invalid_query")


def _no_cursor() -> Invalid:
    return Invalid(
        "That cursor does not belong to this list.", code="invalid_cursor", hint="Start again from the first page."
    )
