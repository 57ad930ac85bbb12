"""Files that arrive in parts and can be taken up again after a break.

Parts are objects of their own until the last one is there, because a bucket cannot append
(https://cloud.google.com/storage/docs/objects#immutability); then they become the one object, if it is what was announced.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from infra.core.artifacts import (
    MAX_ARTIFACT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    Upload,
    artifact_key,
    content_type,
    uploads_prefix,
)
from infra.core.bucket import Bucket, StoredObject
from infra.core.errors import Conflict, Invalid, TooLarge
from infra.core.ids import RunId


@dataclass(frozen=True, slots=True)
class Uploads:
    bucket: Bucket

    async def reached(self, upload: Upload) -> int:
        """Where the next part starts."""
        return _size(await self._parts(upload))

    async def stored(self, upload: Upload) -> StoredObject | None:
        """The whole file, if exactly this one is there."""
        found = await self.bucket.stat(artifact_key(upload.run_id, upload.name))
        return found if found is not None and hmac.compare_digest(found.sha256, upload.sha256) else None

    async def add(self, upload: Upload, offset: int, pieces: AsyncIterator[bytes]) -> int:
        """Stores the part that starts at ``offset`` and returns where the next one starts; one that is there is not read.

        Raises ``Conflict`` (``offset_mismatch``, naming the right one), ``Invalid``, ``TooLarge``.
        """
        parts = await self._parts(upload)
        reached = _size(parts)
        if offset > reached:
            raise Conflict(
                f"The next part starts at {reached}, not at {offset}.",
                code="offset_mismatch",
                hint=f"Send the part with offset={reached}.",
            )
        if offset < reached:
            return reached
        if len(parts) >= MAX_PARTS:
            raise TooLarge(f"More than {MAX_PARTS} parts.", code="too_many_parts", hint="Send larger parts.")
        part = await self.bucket.put(
            upload.part_key(offset),
            pieces,
            content_type="application/octet-stream",
            max_bytes=min(MAX_PART_BYTES, upload.total - offset),
        )
        return reached + part.size

    async def whole(self, upload: Upload) -> StoredObject:
        """The parts as one object; they are gone afterwards, also when together they are not what was announced.

        Raises ``Invalid`` (``checksum_mismatch``)."""
        parts = await self._parts(upload)
        try:
            return await self.bucket.put(
                artifact_key(upload.run_id, upload.name),
                _checked(self._joined(parts), upload.sha256),
                content_type=content_type(upload.name),
                max_bytes=MAX_ARTIFACT_BYTES,
            )
        finally:
            for part in parts:
                await self.bucket.delete(part.key)

    async def discard(self, run_id: RunId) -> None:
        """Removes what arrived of files that never became whole."""
        for part in await self.bucket.list(uploads_prefix(run_id)):
            await self.bucket.delete(part.key)

    async def _parts(self, upload: Upload) -> Sequence[StoredObject]:
        return await self.bucket.list(upload.prefix, MAX_PARTS)

    async def _joined(self, parts: Sequence[StoredObject]) -> AsyncIterator[bytes]:
        for part in parts:
            async for piece in self.bucket.open(part.key):
                yield piece


async def _checked(pieces: AsyncIterator[bytes], sha256: str) -> AsyncGenerator[bytes, None]:
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
        yield piece
    if not hmac.compare_digest(digest.hexdigest(), sha256):
        raise Invalid(
            "The parts together do not have the announced checksum.",
            code="checksum_mismatch",
            hint="Send the file again from the start.",
        )


def _size(parts: Sequence[StoredObject]) -> int:
    return sum(part.size for part in parts)
