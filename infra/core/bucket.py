"""The bucket port: bytes kept with a run, written and read as streams of bounded pieces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from infra.core.errors import Invalid

MAX_KEY_CHARACTERS = 512
MAX_KEY_BYTES = 1024
"""Cloud Storage's limit for a name in UTF-8. https://cloud.google.com/storage/docs/objects#naming"""

MAX_PIECE_BYTES = 1_048_576

# Cc: control characters; Cf: invisible ones (direction marks, tag characters); Cs: half characters; Zl, Zp: line ends.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_CONTENT_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,63}/[A-Za-z0-9!#$&^_.+-]{1,63}( ?; ?[A-Za-z0-9-]+=[\x21-\x7e]{1,80}){0,3}"
)


def check_key(key: str) -> str:
    """Raises ``Invalid`` unless the key is segments of visible characters joined by slashes (see ``Bucket``)."""
    segments = key.split("/")
    fits = (
        len(key) <= MAX_KEY_CHARACTERS
        and all(segment not in {"", ".", ".."} for segment in segments)
        and not any(unicodedata.category(character) in _UNSEEN_CATEGORIES for character in key)
        and len(key.encode()) <= MAX_KEY_BYTES
    )
    if not fits:
        raise Invalid(
            f"{key[:80]!r} is not an object key.",
            code="invalid_object_key",
            hint=f"Segments joined by slashes, no '..', no control characters, at most {MAX_KEY_CHARACTERS} characters.",
        )
    return key


def check_content_type(content_type: str) -> str:
    """Raises ``Invalid`` for what is not ``type/subtype`` with at most three parameters: it becomes a header one day."""
    if _CONTENT_TYPE.fullmatch(content_type) is None:
        raise Invalid(f"{content_type[:80]!r} is not a content type.", code="invalid_content_type")
    return content_type


@dataclass(frozen=True, slots=True)
class StoredObject:
    """``sha256`` is hex; ``size`` in bytes."""

    key: str
    size: int
    sha256: str
    content_type: str


class Bucket(Protocol):
    """Keys look like paths (``runs/run-…/claude.log``) but name no place: no ``..``, no leading slash, ≤ 512 characters."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, max_bytes: int) -> StoredObject:
        """Stores or replaces the whole object atomically. Raises ``TooLarge`` over ``max_bytes`` (nothing is kept)."""
        ...

    async def stat(self, key: str) -> StoredObject | None: ...

    def open(self, key: str) -> AsyncIterator[bytes]:
        """The bytes in pieces of at most 1 MiB. Raises ``NotFound``."""
        ...

    async def list(self, prefix: str, limit: int = 1000) -> tuple[StoredObject, ...]:
        """In key order."""
        ...

    async def delete(self, key: str) -> None:
        """Absent is fine."""
        ...

    async def close(self) -> None: ...
