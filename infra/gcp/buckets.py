"""Objects in Cloud Storage. Google's client is not asynchronous, so it works in threads.

An object is written in one request that replaces it as a whole, and read in one, which goes on with the bytes it began
with when the object is replaced meanwhile. What is written is first gathered in a temporary file: its SHA-256 travels with
it as metadata, and is not known before the end. The identity needs roles/storage.objectUser on the bucket.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

from google.api_core import exceptions as google

from infra.core.bucket import MAX_PIECE_BYTES, StoredObject, check_content_type, check_key
from infra.core.errors import NotFound, TooLarge, Unavailable
from infra.gcp.clients import TIMEOUT_SECONDS
from infra.gcp.errors import Service, errors

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

P = ParamSpec("P")
R = TypeVar("R")

_HOST = "https://storage.googleapis.com"
_IN_MEMORY_BYTES = 4 * 1_048_576
_TRANSFER_SECONDS = 300.0
_DIGEST = "sha256"


class CloudStorageBucket:
    """The ``Bucket`` port."""

    def __init__(
        self, *, project: str, bucket: str, endpoint: str = _HOST, credentials: Credentials | None = None
    ) -> None:
        self._project = project
        self._name = bucket
        self._endpoint = endpoint
        self._credentials = credentials
        self._connected: Any = None  # the client's package is without types
        self._connecting = asyncio.Lock()
        self._retry: Any = None

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, max_bytes: int) -> StoredObject:
        check_key(key)
        check_content_type(content_type)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as gathered:
            size, digest = await _gather(chunks, gathered, max_bytes)
            blob = await self._blob(key)
            blob.metadata = {_DIGEST: digest}
            await self._in_thread(
                "storage.objects.create",
                blob.upload_from_file,
                gathered,
                rewind=True,
                size=size,
                content_type=content_type,
                timeout=_TRANSFER_SECONDS,
                retry=self._retry,  # the same bytes under the same key: repeating them changes nothing
            )
        return StoredObject(key, size, digest, content_type)

    async def stat(self, key: str) -> StoredObject | None:
        check_key(key)
        blob = await self._blob(key)
        try:
            await self._in_thread("storage.objects.get", blob.reload, timeout=TIMEOUT_SECONDS, retry=self._retry)
        except NotFound:
            return None
        return _described(blob)

    async def open(self, key: str) -> AsyncIterator[bytes]:
        check_key(key)
        blob = await self._blob(key)
        pipe = _Pipe(asyncio.get_running_loop())
        reading = asyncio.create_task(self._download(blob, pipe))
        try:
            while piece := await pipe.pieces.get():
                yield piece
            await reading
        finally:
            pipe.closed = True
            reading.cancel()

    async def list(self, prefix: str, limit: int = 1000) -> tuple[StoredObject, ...]:
        if limit <= 0:
            return ()
        client = await self._client()

        def find() -> tuple[StoredObject, ...]:
            found = client.list_blobs(
                self._name, prefix=prefix, max_results=limit, timeout=TIMEOUT_SECONDS, retry=self._retry
            )
            return tuple(_described(blob) for blob in found)

        return await self._in_thread("storage.objects.list", find)

    async def delete(self, key: str) -> None:
        check_key(key)
        blob = await self._blob(key)
        try:
            await self._in_thread("storage.objects.delete", blob.delete, timeout=TIMEOUT_SECONDS, retry=self._retry)
        except NotFound:
            return

    async def close(self) -> None:
        if self._connected is not None:
            self._connected.close()

    async def _client(self) -> Any:
        """Made at first use, in a thread: looking for credentials may ask the metadata server."""
        async with self._connecting:
            if self._connected is None:
                self._connected = await self._in_thread("storage.objects.get", self._connect)
        return self._connected

    def _connect(self) -> Any:
        # a tenth of a second that only artifacts need
        from google.cloud.storage import Client
        from google.cloud.storage.retry import DEFAULT_RETRY

        self._retry = DEFAULT_RETRY.with_timeout(TIMEOUT_SECONDS)
        made: Any = Client
        options = {"api_endpoint": self._endpoint}
        return made(project=self._project, credentials=self._credentials, client_options=options)

    async def _blob(self, key: str) -> Any:
        return (await self._client()).bucket(self._name).blob(key)

    async def _download(self, blob: Any, pipe: _Pipe) -> None:
        from google.cloud.storage.exceptions import DataCorruption

        try:
            await self._in_thread(
                "storage.objects.get",
                blob.download_to_file,
                pipe,
                raw_download=True,
                single_shot_download=True,
                timeout=_TRANSFER_SECONDS,
                retry=self._retry,
            )
        except DataCorruption as error:
            raise Unavailable(
                f"The object {blob.name} arrived damaged.", code="object_corrupt", hint="It is safe to ask again."
            ) from error
        finally:
            await pipe.pieces.put(b"")

    async def _in_thread(self, permission: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Raises ``NotFound`` for an object (a bucket that does not exist is a trouble of the installation)."""
        service = Service("Cloud Storage", "storage.googleapis.com", permission, f"the bucket {self._name}")
        with errors(service):
            try:
                return await asyncio.to_thread(work, *args, **kwargs)
            except google.NotFound as error:
                if "bucket does not exist" in error.message:
                    raise
                raise NotFound("There is no such object.", code="unknown_object") from error


class _Pipe:
    """What the downloading thread writes to: a few pieces ahead of the reader, no more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue(4)
        self.closed = False
        self._loop = loop

    def write(self, data: bytes) -> int:
        for start in range(0, len(data), MAX_PIECE_BYTES):
            handed = asyncio.run_coroutine_threadsafe(
                self.pieces.put(data[start : start + MAX_PIECE_BYTES]), self._loop
            )
            while True:
                try:
                    handed.result(1.0)
                    break
                except TimeoutError:
                    if self.closed:  # the reader has gone
                        handed.cancel()
                        raise BrokenPipeError from None
        return len(data)


async def _gather(chunks: AsyncIterator[bytes], file: IO[bytes], max_bytes: int) -> tuple[int, str]:
    """The size and SHA-256 of what was written to ``file``."""
    size, digest = 0, hashlib.sha256()
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge(f"The object is larger than {max_bytes:,} bytes.", code="object_too_large")
        digest.update(chunk)
        await asyncio.to_thread(file.write, chunk)
    return size, digest.hexdigest()


def _described(blob: Any) -> StoredObject:
    metadata = blob.metadata or {}
    return StoredObject(blob.name, int(blob.size or 0), metadata.get(_DIGEST, ""), blob.content_type or "")
