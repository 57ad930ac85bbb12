"""Files on a disk: whole or absent, whatever stops the process or the power.

Bytes are written under a temporary name, forced to the disk, and only then given their real name by a hard link. Unlike a
rename, ``link`` fails when the name is taken: of several writers exactly one wins, and nobody's file is overwritten.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.core.errors import Forbidden, Unavailable


def create_whole(path: Path, content: bytes) -> None:
    """Creates the file, readable by its owner only. Raises ``FileExistsError`` when the name is taken, ``OSError`` else."""
    descriptor, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)  # O_EXCL, mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    sync_folder(path.parent)


def make_private(folder: Path) -> None:
    """Creates the folder and those above it that are missing, open to their owner only (``mkdir -p`` would open them)."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(path: Path) -> None:
    """A new, moved or removed name survives a power cut only once its folder is on the disk too: see fsync(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, at_most: int) -> bytes:
    """The content, never more than ``at_most + 1`` bytes. Raises ``OSError``, with ``ELOOP`` for links, pipes and folders."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ELOOP, "not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(at_most + 1)
    finally:
        os.close(descriptor)


@contextmanager
def disk_troubles(store: str, root: Path) -> Iterator[None]:
    """Turns what the operating system says into ``Forbidden`` or ``Unavailable``; ``store`` begins the codes."""
    try:
        yield
    except PermissionError as error:
        raise Forbidden(
            f"{error.filename} may not be used: {error.strerror}.",
            code=f"{store}_forbidden",
            hint=f"Run as the owner of {root}.",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"The files in {root} could not be used: {error.strerror}.",
            code=f"{store}_down",
            hint="Check that the disk is there, writable and not full.",
        ) from error
