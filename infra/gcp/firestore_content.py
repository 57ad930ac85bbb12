"""Between JSON documents and what Firestore stores; ``infra/core/content.py`` says why some parts are packed.

Layout of a stored document: ``data`` holds the whole content, so that replacing one field replaces everything;
``expire_at`` is the timestamp of the collection's TTL policy; ``changed_at`` is the server's time of the last write, which
the change feed follows. Fields for indexes are therefore ``data.state``, ``data.wake_at`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.core.clock import Instant
from infra.core.content import PACKED, is_packed, original_key, pack, path_into, stored_key, unpack

DATA = "data"
EXPIRE_AT = "expire_at"
CHANGED_AT = "changed_at"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_stored(data: Mapping[str, Any]) -> dict[str, Any]:
    """The value of ``data``. The content was checked (``check_writes``)."""
    whole = dict(data)
    return _entries(whole, 1, path_into(whole, 0))


def from_stored(value: Mapping[str, Any]) -> dict[str, Any]:
    return {original_key(key): _original(item) for key, item in value.items()}


def timestamp(moment: Instant) -> datetime:
    return _EPOCH + timedelta(milliseconds=moment)


def microseconds(moment: datetime) -> int:
    """Since the Unix epoch; Firestore's timestamps have no finer digits."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(moment: int) -> datetime:
    return _EPOCH + moment * _MICROSECOND


def _entries(value: Mapping[str, Any], depth: int, path: int) -> dict[str, Any]:
    return {stored_key(key): _stored(item, depth, path, in_list=False) for key, item in value.items()}


def _list(values: Iterable[Any], depth: int, path: int) -> list[Any]:
    return [_stored(item, depth, path, in_list=True) for item in values]


def _stored(value: Any, depth: int, path: int, *, in_list: bool) -> Any:
    if not isinstance(value, dict | list | tuple):
        return value
    inside = path_into(value, path)
    if is_packed(value, depth, inside, in_list=in_list):
        return {PACKED: pack(value)}
    if isinstance(value, dict):
        return _entries(value, depth + 1, inside)
    return _list(value, depth + 1, inside)


def _original(value: Any) -> Any:
    if isinstance(value, dict):
        return unpack(value[PACKED]) if value.keys() == {PACKED} else from_stored(value)
    if isinstance(value, list):
        return [_original(item) for item in value]
    return value
