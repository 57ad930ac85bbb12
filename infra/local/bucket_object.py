"""One object is one file: its bytes as they came, then what is known about them, then how long that is.

Bytes and description appear in one rename, so no reader ever sees the one without the other; and as the bytes come first, a
person can open a stored log with any program. Methods block, so they run in worker threads. A caller that is cancelled leaves
its thread at work; the lock makes ``discard`` and ``close`` wait for that, instead of closing a file that is in use.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from infra.core.bucket import StoredObject
from infra.core.errors import NotFound, TooLarge, Unavailable
from infra.local.durable import make_private

_MAGIC = b"PWO1"
_LENGTH_BYTES = 4
_MAX_TAIL_BYTES = 8192
_READ_BYTES = 262_144
_DRAFT = "draft-"
_TRIES = 20


class Writing:
    """A new object, first a draft in the folder ``incoming``."""

    def __init__(self, incoming: Path, key: str, content_type: str, max_bytes: int) -> None:
        self._incoming = incoming
        self._key = key
        self._content_type = content_type
        self._max_bytes = max_bytes
        self._size = 0
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._draft: tuple[int, Path] | None = None

    def add(self, piece: bytes) -> None:
        """Raises ``TooLarge`` before the limit is crossed on the disk."""
        with self._lock:
            self._size += len(piece)
            if self._size > self._max_bytes:
                raise TooLarge(f"{self._key} has more than {self._max_bytes} bytes.", code="object_too_large")
            self._digest.update(piece)
            _write(self._drafted()[0], piece)

    def finish(self, open_folder: Callable[[], int], name: str) -> StoredObject:
        """Puts the description behind the bytes, forces all of it to the disk, and moves it into place."""
        with self._lock:
            descriptor, draft = self._drafted()
            sha256 = self._digest.hexdigest()
            about = {"key": self._key, "content_type": self._content_type, "sha256": sha256}
            text = b"\n" + json.dumps(about).encode()
            _write(descriptor, text + len(text).to_bytes(_LENGTH_BYTES, "big") + _MAGIC)
            os.fsync(descriptor)
            _move(draft, open_folder, name)
            return StoredObject(self._key, self._size, sha256, self._content_type)

    def discard(self) -> None:
        """Leaves nothing behind; a finished object stays."""
        with self._lock:
            if self._draft is not None:
                descriptor, draft = self._draft
                draft.unlink(missing_ok=True)
                os.close(descriptor)
                self._draft = None

    def _drafted(self) -> tuple[int, Path]:
        if self._draft is None:
            self._draft = _new_draft(self._incoming)
        return self._draft


class Reading:
    """A stored object, from the file that ``open_file`` opens; what was open stays readable when it is replaced."""

    def __init__(self, open_file: Callable[[], int], key: str) -> None:
        self._open_file = open_file
        self._key = key
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._digest = hashlib.sha256()
        self._left = 0
        self._about: StoredObject | None = None

    def about(self) -> StoredObject:
        """Raises ``NotFound``, or ``Unavailable`` (``object_corrupt``) when the file is not what was written."""
        with self._lock:
            return self._opened()[1]

    def next(self) -> bytes:
        """The next piece, empty at the end. Raises as ``about`` does; damage in the bytes shows at the end."""
        with self._lock:
            descriptor, about = self._opened()
            piece = os.read(descriptor, min(_READ_BYTES, self._left))
            self._left -= len(piece)
            self._digest.update(piece)
            if not piece and (self._left or self._digest.hexdigest() != about.sha256):
                raise corrupt(self._key)
            return piece

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _opened(self) -> tuple[int, StoredObject]:
        if self._descriptor is None or self._about is None:
            self._descriptor = self._open_regular()
            self._about = _description(self._descriptor, self._key)
            self._left = self._about.size
        return self._descriptor, self._about

    def _open_regular(self) -> int:
        try:
            return self._open_file()
        except FileNotFoundError:
            raise NotFound(f"There is no object {self._key!r}.", code="object_not_found") from None
        except OSError as error:
            if error.errno in {
                errno.ELOOP,
                errno.ENOTDIR,
                errno.ENXIO,
            }:  # a link or socket in place of a file or folder
                raise corrupt(self._key) from None
            raise


def sweep(incoming: Path) -> None:
    """Removes drafts whose writer is dead: only a living one holds its lock."""
    for draft in incoming.glob(f"{_DRAFT}*"):
        with suppress(OSError), os.fdopen(os.open(draft, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()


def corrupt(key: str) -> Unavailable:
    return Unavailable(
        f"The stored object {key!r} was changed or damaged on the disk.",
        code="object_corrupt",
        hint="Delete it, and run again what made it.",
    )


def _description(descriptor: int, key: str) -> StoredObject:
    """What stands behind the bytes; leaves the file at its start."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise corrupt(key)
    start = max(0, status.st_size - _MAX_TAIL_BYTES)
    tail = os.pread(descriptor, _MAX_TAIL_BYTES, start)
    body, magic = tail[: -len(_MAGIC)], tail[-len(_MAGIC) :]
    length = int.from_bytes(body[-_LENGTH_BYTES:], "big")
    text = body[:-_LENGTH_BYTES]
    size = status.st_size - len(_MAGIC) - _LENGTH_BYTES - length
    if magic != _MAGIC or not 0 < length <= len(text) or size < 0:
        raise corrupt(key)
    try:
        about = json.loads(text[-length:])
        found = StoredObject(about["key"], size, about["sha256"], about["content_type"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise corrupt(key) from None
    if found.key != key or not isinstance(found.sha256, str) or not isinstance(found.content_type, str):
        raise corrupt(key)
    return found


def _new_draft(incoming: Path) -> tuple[int, Path]:
    make_private(incoming)
    while True:
        descriptor, path = tempfile.mkstemp(prefix=_DRAFT, dir=incoming)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(path)
        os.close(descriptor)  # a sweep came between the two steps


def _move(draft: Path, open_folder: Callable[[], int], name: str) -> None:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a delete took the empty folder away: make it anew
            folder = open_folder()
            try:
                os.rename(draft, name, dst_dir_fd=folder)
                os.fsync(folder)
            finally:
                os.close(folder)
            return
    raise Unavailable(
        f"{draft} could not be moved into place: it or its folder is being removed all the time.", code="bucket_down"
    )


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
