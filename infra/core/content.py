"""What a document may contain and how large it is: one rule for every store, so that none is a trap for the other.

Accepted is JSON as ``json.loads`` makes it: maps with text keys, lists (tuples read back as lists), text that is
Unicode, whole numbers of 64 bits, finite floats, booleans, null, up to ``MAX_DEPTH`` levels.

Firestore holds less than that: no list directly in a list, at most 20 levels, no keys that are empty or look like
``__name__``, no field path over 1,500 bytes (https://firebase.google.com/docs/firestore/quotas). Agents send such
content (a tool's input is any JSON), so it is not refused: ``is_packed`` says which parts Firestore keeps as JSON text,
and ``stored_key`` how a key is written. They are here because they decide the size of a document, which is measured
as Firestore counts it. https://firebase.google.com/docs/firestore/storage-size
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from infra.core.errors import Invalid

Container = dict[str, Any] | list[Any] | tuple[Any, ...]

MAX_DEPTH = 100
"""Levels of maps and lists; parsers in front of and behind the store give up not far above."""

PACKED = "$json"
"""The only key of a map that stands for a packed part; its value is JSON text."""

_MAX_NATIVE_DEPTH = 16  # of 20, with room for the levels that an adapter wraps around
_MAX_NATIVE_PATH = 1_400  # of 1,500 bytes, each character counted as the four bytes it may take
_OVERHEAD = 32  # of a document, and of each map in it
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


def measure(data: Mapping[str, Any]) -> int:
    """Size in bytes, without the document's name. Raises ``Invalid`` for anything that is not JSON as described."""
    whole = dict(data)
    keys = _keys_size(whole)
    path = path_into(whole, 0)
    if path > _MAX_NATIVE_PATH:
        raise _refused("one of its own keys is too long")
    return _OVERHEAD + keys + _items(whole.values(), 1, path, native=True, in_list=False)


def is_packed(value: Container, depth: int, path: int, *, in_list: bool) -> bool:
    """Whether this part is kept as JSON text. ``depth``: levels above it; ``path``: what ``path_into`` gave for it."""
    return depth >= _MAX_NATIVE_DEPTH or path > _MAX_NATIVE_PATH or (in_list and type(value) is not dict)


def path_into(value: Container, path: int) -> int:
    """An upper bound for the bytes of any field's path in ``value``, which itself is at ``path``."""
    if type(value) is not dict or not value:
        return path
    return path + 4 * max(map(len, value)) + 1


def pack(value: Container) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def unpack(text: str) -> Any:
    return json.loads(text)


def stored_key(key: str) -> str:
    """The key as Firestore takes it; ``original_key`` undoes it."""
    reserved = not key or key.startswith("$") or (key.startswith("__") and key.endswith("__"))
    return f"${key}" if reserved else key


def original_key(key: str) -> str:
    return key.removeprefix("$")


def _items(values: Iterable[Any], depth: int, path: int, *, native: bool, in_list: bool) -> int:
    """The scalars are spelt out here, not in functions: this runs for each value of each document that is written."""
    size = 0
    for value in values:
        kind = type(value)
        if kind is str:
            size += len(value) + 1 if value.isascii() else _text_size(value)
        elif kind is int:
            if not _MIN_INT <= value <= _MAX_INT:
                raise _refused("a whole number needs more than 64 bits")
            size += 8
        elif value is None or kind is bool:
            size += 1
        elif kind is float:
            if not math.isfinite(value):
                raise _refused("NaN and infinity are not JSON")
            size += 8
        else:
            size += _container_size(value, depth, path, native=native, in_list=in_list)
    return size


def _container_size(value: Any, depth: int, path: int, *, native: bool, in_list: bool) -> int:
    if depth >= MAX_DEPTH:
        raise _refused(f"it has more than {MAX_DEPTH} levels")
    if type(value) is dict:
        keys, values = _keys_size(value), value.values()
        path = path_into(value, path)
    elif type(value) in (list, tuple):
        keys, values = 0, value
    else:
        raise _refused(f"{type(value).__name__} is not a JSON type")
    packed = native and is_packed(value, depth, path, in_list=in_list)
    inner = _items(values, depth + 1, path, native=native and not packed, in_list=type(value) is not dict)
    if packed:
        return _OVERHEAD + len(PACKED) + 1 + _text_size(pack(value))
    return _OVERHEAD + keys + inner


def _keys_size(keys: Iterable[Any]) -> int:
    """Each key with its end mark and room for the mark that ``stored_key`` may put in front."""
    names = list(keys)
    try:
        joined = "".join(names)
    except TypeError:
        raise _refused("a key is not text") from None
    return _text_size(joined) - 1 + 2 * len(names)


def _text_size(text: str) -> int:
    try:
        return len(text.encode()) + 1
    except UnicodeEncodeError:
        raise _refused("a text holds half of a surrogate pair") from None


def _refused(why: str) -> Invalid:
    return Invalid(
        f"This document cannot be stored: {why}.",
        code="invalid_document",
        hint="Documents hold JSON: text, 64-bit whole numbers, finite floats, booleans, null, lists, maps with text keys.",
    )
