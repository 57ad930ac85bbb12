"""Opening the store's file, and SQLite's complaints as sentences."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from infra.core.errors import Unavailable
from infra.local.documents_sql import TABLES, Index, index
from infra.local.durable import make_private, sync_folder

VERSION = 1
"""Of the tables; kept in the file as ``user_version``."""

_APPLICATION = (
    0x50775731  # "PwW1": tells our files from other people's. https://sqlite.org/pragma.html#pragma_application_id
)
_OPEN_SECONDS = 10.0  # another process may be creating the file at this moment
_OPEN_PAUSE_SECONDS = 0.02
_CACHE_KIBIBYTES = 32_768
_BUSY_MILLISECONDS = 20  # the loop stands still meanwhile; longer waits are made between attempts

Indexes = Mapping[str, tuple[Index, ...]]
Location = Path | Literal[":memory:"]


def open_file(location: Location, indexes: Indexes) -> sqlite3.Connection:
    """A connection to a file of our version, created readable by its owner only where there was none.

    Raises ``Unavailable`` with code ``store_corrupt``, ``store_too_new``, or what ``complaints`` says.
    """
    with complaints(location):
        if isinstance(location, Path):
            _create_private(location)
        connection = sqlite3.connect(
            str(location), timeout=_OPEN_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            _prepare_when_free(connection, location, indexes)
        except BaseException:
            connection.close()
            raise
    return connection


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file for the moment."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextlib.contextmanager
def complaints(location: Location) -> Iterator[None]:
    """Turns what SQLite and the file system raise into ``Unavailable`` with what to do next."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise complaint(location, error) from error


def complaint(location: Location, error: Exception) -> Unavailable:
    if isinstance(error, OSError):
        return Unavailable(
            f"The store {location} cannot be opened: {error.strerror}.",
            code="store_unreadable",
            hint="Check that the folder exists and belongs to this user.",
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt(location, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"The store {location} stayed locked by another process.",
            code="store_busy",
            hint="Ask again in a moment; if it lasts, look for a second server on the same file.",
        )
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"There is no room left to write to the store {location}.",
            code="store_full",
            hint="Free space on that disk; nothing was lost, and writes work again at once.",
        )
    return Unavailable(
        f"The store {location} failed: {error}.",
        code="store_failed",
        hint="Check the disk and the file's permissions, then ask again.",
    )


def _corrupt(location: Location, detail: str) -> Unavailable:
    return Unavailable(
        f"The store {location} is damaged or not a Pullwright store: {detail}.",
        code="store_corrupt",
        hint="Move the file and its -wal and -shm neighbours away and restore a backup, or start empty without them.",
    )


def _create_private(path: Path) -> None:
    make_private(path.parent)
    # Never open a file that is there: closing a second descriptor would drop SQLite's locks on it.
    # https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        sync_folder(path.parent)


def _prepare_when_free(connection: sqlite3.Connection, location: Location, indexes: Indexes) -> None:
    """Several processes may make the file at once; SQLite's own patience does not cover the change to WAL.
    https://sqlite.org/wal.html#sometimes_queries_return_sqlite_busy_in_wal_mode"""
    give_up = time.monotonic() + _OPEN_SECONDS
    while True:
        try:
            _prepare(connection, location, indexes)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > give_up:
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            time.sleep(_OPEN_PAUSE_SECONDS)
        else:
            return


def _prepare(connection: sqlite3.Connection, location: Location, indexes: Indexes) -> None:
    connection.execute("BEGIN")  # one look at all that the check reads
    _check_version(connection, location)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    _check_version(connection, location)
    for statement in TABLES:
        connection.execute(statement)
    for kind, declared in indexes.items():
        for fields in declared:
            connection.execute(index(kind, fields))
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")


def _check_version(connection: sqlite3.Connection, location: Location) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise _corrupt(location, "another program made this file")
    if version > VERSION:
        raise Unavailable(
            f"The store {location} has version {version}; this program knows versions up to {VERSION}.",
            code="store_too_new",
            hint="Start the newer program that wrote it, or point this one at another data folder.",
        )
