"""The bucket as a folder of this machine.

    ROOT/objects/…     the objects, one file each; ``bucket_names`` says where, ``bucket_object`` what is in it
    ROOT/incoming/…    what is being written, moved into place when it is whole

Every step down the tree is taken from the folder before, and none follows a link, so neither a key nor a link that somebody
left in the tree leads out of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from infra.core.bucket import StoredObject, check_content_type, check_key
from infra.core.errors import NotFound, Unavailable
from infra.local.bucket_names import Folders, folders_of, key_of, place_of
from infra.local.bucket_object import Reading, Writing, sweep
from infra.local.durable import disk_troubles, make_private

P = ParamSpec("P")
R = TypeVar("R")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in place of a file must not hang us
_GATHER_BYTES = 262_144

_log = logging.getLogger(__name__)


class FolderBucket:
    """``Bucket`` below ``root``; any number of processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        self._swept = False

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, max_bytes: int) -> StoredObject:
        check_key(key)
        check_content_type(content_type)
        folders, name = place_of(key)
        writing = Writing(self._incoming, key, content_type, max_bytes)
        try:
            await self._in_thread(self._sweep_once)
            async with aclosing(_gathered(chunks)) as pieces:
                async for piece in pieces:
                    await self._in_thread(writing.add, piece)
            return await self._in_thread(writing.finish, partial(self._open_folder, folders, make=True), name)
        finally:
            await self._in_thread(writing.discard)

    async def stat(self, key: str) -> StoredObject | None:
        """Raises ``Unavailable`` (``object_corrupt``) when the stored file is not what was written."""
        check_key(key)
        try:
            return await self._in_thread(self._describe, key)
        except NotFound:
            return None

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Raises ``Unavailable`` (``object_corrupt``) at the latest after the last piece when the bytes are not those that
        were put."""
        check_key(key)
        reading = Reading(partial(self._open_file, key), key)
        try:
            while piece := await self._in_thread(reading.next):
                yield piece
        finally:
            await self._in_thread(reading.close)

    async def list(self, prefix: str, limit: int = 1000) -> tuple[StoredObject, ...]:
        """Damaged objects are left out, with a line in the log."""
        return await self._in_thread(self._find, prefix, limit)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._in_thread(self._remove, key)

    async def close(self) -> None:
        """Nothing is held open between calls."""

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A slow disk must not stop the event loop."""
        with disk_troubles("bucket", self._root):
            return await asyncio.to_thread(work, *args, **kwargs)

    # Everything below runs in worker threads.

    def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            sweep(self._incoming)

    def _describe(self, key: str) -> StoredObject:
        reading = Reading(partial(self._open_file, key), key)
        try:
            return reading.about()
        finally:
            reading.close()

    def _find(self, prefix: str, limit: int) -> tuple[StoredObject, ...]:
        found: list[StoredObject] = []
        for key in sorted(key for key in self._keys_below(prefix.rpartition("/")[0]) if key.startswith(prefix)):
            if len(found) >= limit:
                break
            try:
                found.append(self._describe(key))
            except NotFound:  # deleted since the folder was listed
                continue
            except Unavailable as error:
                _log.warning("%s %s", error.message, error.hint)
        return tuple(found)

    def _keys_below(self, segments: str) -> Sequence[str]:
        folders = folders_of(segments)
        try:
            top = self._open_folder(folders)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            places = [
                ((*folders, *(part for part in path.split("/") if part != ".")), name)
                for path, _, names, _ in os.fwalk(".", dir_fd=top, follow_symlinks=False)
                for name in names
            ]
        finally:
            os.close(top)
        return [key for key in (key_of(*place) for place in places) if key is not None]

    def _remove(self, key: str) -> None:
        folders, name = place_of(key)
        try:
            with _Open(self._open_folder(folders)) as folder:
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
        except FileNotFoundError:
            return
        with suppress(OSError):  # the first folder that is not empty ends it
            for depth in range(len(folders), 0, -1):
                with _Open(self._open_folder(folders[: depth - 1])) as folder:
                    os.rmdir(folders[depth - 1], dir_fd=folder)

    def _open_file(self, key: str) -> int:
        folders, name = place_of(key)
        with _Open(self._open_folder(folders)) as folder:
            return os.open(name, _FILE, dir_fd=folder)

    def _open_folder(self, names: Folders, *, make: bool = False) -> int:
        if make:
            make_private(self._objects)
        current = os.open(self._objects, _FOLDER)
        for name in names:
            with _Open(current) as parent:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=parent)
                        os.fsync(parent)
                current = os.open(name, _FOLDER, dir_fd=parent)
        return current


class _Open:
    """``with`` for a descriptor of a folder."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


async def _gathered(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Small chunks together: a hop to a thread costs more than writing a line."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= _GATHER_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
