"""The bucket port: bytes kept with a run, written and read as streams of bounded pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


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
