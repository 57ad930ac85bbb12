"""One SQLite file, one thread, few commits: whatever is asked for while a commit is under way shares the next one.

A commit costs a wait for the disk, a row in it a few microseconds. So callers in one turn of the event loop – and all that
come while the thread is busy – ride in one transaction, and each still learns its own result after it is on the disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from infra.core.errors import PullwrightError, Unavailable
from infra.local.durable import make_private, sync_folder
from infra.local.queue_table import SCHEMA, VERSION

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

_BUSY_SECONDS = 10.0
_MAX_BATCH = 500


@dataclass(frozen=True, slots=True)
class _Wish:
    job: Job[Any]
    result: asyncio.Future[Any]


class QueueFile:
    """``durable``: a commit survives a power cut, not only the end of the process. ``after_commit`` runs in the thread."""

    def __init__(self, path: Path, *, durable: bool, after_commit: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._synchronous: Literal["FULL", "NORMAL"] = "FULL" if durable else "NORMAL"
        self._after_commit = after_commit
        self._wishes: list[_Wish] = []
        self._busy = False
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="queue-file")
        self._connection: sqlite3.Connection | None = None  # touched by the thread only

    async def submit(self, job: Job[T]) -> T:
        """What ``job`` returned, once it is committed. Jobs run in the order of their calls and must not fail on their own:
        one that raises takes the batch with it. Raises ``Unavailable`` when the file could not be read or written."""
        if self._closed:
            raise Unavailable("The local queue is closed.", code="queue_closed")
        return await self._ask(job)

    async def close(self) -> None:
        """Waits for what was asked for; later wishes are refused."""
        if self._closed:
            return
        self._closed = True
        with suppress(PullwrightError):  # a file that cannot be written can be closed
            await self._ask(lambda _: None)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    async def _ask(self, job: Job[T]) -> T:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._wishes.append(_Wish(job, result))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._start, loop)
        return await result

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._wishes = self._wishes[:_MAX_BATCH], self._wishes[_MAX_BATCH:]
        self._thread.submit(self._run, batch, loop)

    def _run(self, batch: list[_Wish], loop: asyncio.AbstractEventLoop) -> None:
        results: list[Any] | Exception
        try:
            results = self._commit([wish.job for wish in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            results = error
        loop.call_soon_threadsafe(self._deliver, batch, results, loop)

    def _deliver(self, batch: list[_Wish], results: list[Any] | Exception, loop: asyncio.AbstractEventLoop) -> None:
        for position, wish in enumerate(batch):
            if wish.result.done():  # its caller was cancelled
                continue
            if isinstance(results, Exception):
                wish.result.set_exception(self._explained(results))
            else:
                wish.result.set_result(results[position])
        if self._wishes:
            self._start(loop)
        else:
            self._busy = False

    def _commit(self, jobs: list[Job[Any]]) -> list[Any]:
        connection = self._connection = self._connection or self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [job(connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._after_commit()
        return results

    def _connect(self) -> sqlite3.Connection:
        make_private(self._path.parent)
        if not self._path.exists():
            _create(self._path)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.text_factory = _text
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            _check_format(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error | OSError):
            return error
        explained = Unavailable(
            f"The local queue in {self._path} could not be used: {error}.",
            code="queue_down",
            hint="Check that the disk is there, writable and not full. If the file itself is damaged, move it away: open runs "
            "are queued anew by the sweeper.",
        )
        explained.__cause__ = error
        return explained


def _create(path: Path) -> None:
    """Puts a finished file into place: several processes may start at once, and two that switch one file to write-ahead
    logging fail with "database is locked" whatever the time-out. Private, because a task may carry a run's token."""
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        draft.chmod(0o600)
        with suppress(FileExistsError):  # another process was first
            os.link(draft, path)
    sync_folder(path.parent)


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise Unavailable(
            f"{path} was made by another version of the program (format {version}, here {VERSION}).",
            code="queue_format",
            hint="Use that version to finish its tasks, or move the file away.",
        )


def _text(raw: bytes) -> str:
    """Damaged text must reach the check of its own row instead of failing the whole query."""
    return raw.decode("utf-8", "surrogateescape")
