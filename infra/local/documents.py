"""Documents in one SQLite file (or in memory): the store of a laptop, of the tests and of a single server.

Group commit. A commit that must survive a power cut waits for the disk; writing a row costs microseconds. So all commits
that ask in one turn of the event loop share a transaction: each is checked and applied on its own, one that is refused
leaves the others alone, and everybody is answered after the common COMMIT.

Where and how to wait was measured (2 cores, ext4, three 1 KB creations a commit, three indexes on one of them; commits/s and
p99 at 16 concurrent callers; “busy” adds 100 µs of Python to each):

    in the loop,  synchronous=FULL      11,900/s   5.5 ms     busy 4,850/s   7.0 ms
    in the loop,  synchronous=NORMAL    16,000/s   7.7 ms     busy 5,420/s   9.6 ms
    in a thread,  synchronous=FULL      10,100/s   5.6 ms     busy 4,720/s   7.6 ms
    loop NORMAL + fsync in a thread     10,500/s  11.8 ms     busy 5,000/s  12.2 ms

FULL costs a tenth where it matters and keeps every acknowledged commit, so NORMAL is not worth its risk. A thread gains
nothing: SQLite gives up the interpreter's lock at each statement and must win it back from a busy loop each time. Checking
preconditions by SELECT beats a savepoint for each commit (17,000 against 13,400 commits/s in groups of 16).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from infra.core.clock import Clock, Instant
from infra.core.errors import AlreadyExists, Conflict, Invalid, PullwrightError, Unavailable
from infra.core.store import Change, Create, Delete, Document, Page, Put, Query, Replace, Write
from infra.core.store_rules import check_collection, check_query, check_writes, split_path, value_at, write_cursor
from infra.local.documents_file import Indexes, Location, complaint, complaints, is_busy, open_file
from infra.local.documents_sql import last_segment, select

_POLL_SECONDS = 0.5  # how late a feed learns what another process wrote; writers in this process wake it at once
_FEED_BATCH = 200
_BUSY_SECONDS = 10.0
_BUSY_PAUSE_SECONDS = 0.01
_PURGE_BATCH = 500

_SELECT = "SELECT data, revision FROM documents WHERE collection = ? AND id = ?"
_REVISION = "SELECT revision FROM documents WHERE collection = ? AND id = ?"
_INSERT = (
    "INSERT INTO documents (revision, collection, kind, id, expire_at, changed_at, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_REPLACE = "UPDATE documents SET revision = ?, changed_at = ?, data = ? WHERE collection = ? AND id = ?"
_PUT = (
    f"{_INSERT} ON CONFLICT (collection, id) DO UPDATE SET revision = excluded.revision, "
    "expire_at = excluded.expire_at, changed_at = excluded.changed_at, data = excluded.data"
)
_DELETE = "DELETE FROM documents WHERE collection = ? AND id = ?"
_NEWEST = "SELECT revision FROM newest"
_FEED = "SELECT id, data, revision FROM documents WHERE collection = ? AND revision > ? ORDER BY revision LIMIT ?"
_PURGE = "DELETE FROM documents WHERE revision IN (SELECT revision FROM documents WHERE expire_at <= ? ORDER BY expire_at LIMIT ?)"


_Outcome = tuple[str, ...] | Exception


class _Row(NamedTuple):
    """A write made ready outside the transaction."""

    write: Write
    collection: str
    kind: str
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class _Commit:
    rows: Sequence[_Row]
    answer: asyncio.Future[tuple[str, ...]]


class SqliteDocuments:
    """The ``Documents`` port. One event loop at a time; several processes may have the file open."""

    def __init__(self, connection: sqlite3.Connection, location: Location, clock: Clock) -> None:
        self._connection = connection
        self._location = location
        self._clock = clock
        self._waiting: list[_Commit] = []
        self._busy_since: float | None = None
        self._feeds: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    @classmethod
    def open(cls, path: Location, clock: Clock, *, indexes: Indexes | None = None) -> SqliteDocuments:
        """Opens or creates the file. ``indexes``: for each kind of collection (its last segment) the fields, or tuples
        of fields, that queries compare and order by; a query without an index reads its whole collection.

        Raises ``Unavailable``: ``store_corrupt``, ``store_too_new``, ``store_unreadable``, ``store_busy``, ``store_full``.
        """
        return cls(open_file(path, indexes or {}), path, clock)

    async def get(self, path: str) -> Document | None:
        place = split_path(path)
        found = self._read(_SELECT, place)
        return Document(path, _decode(found[0][0]), str(found[0][1])) if found else None

    async def commit(self, *writes: Write) -> tuple[str, ...]:
        check_writes(writes)
        self._check_open()
        if not writes:
            return ()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[str, ...]] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append(_Commit([_row(write) for write in writes], answer))
        return await answer

    async def query(self, collection: str, query: Query) -> Page:
        check_query(collection, query)
        rows = self._read(*select(collection, query))
        documents = tuple(
            Document(f"{collection}/{name}", _decode(text), str(revision))
            for name, text, revision, _ in rows[: query.limit]
        )
        if len(rows) <= query.limit:
            return Page(documents, None)
        last = rows[query.limit - 1]
        return Page(documents, write_cursor(query, last[0], _cursor_value(documents[-1], query, last[3])))

    def changes(self, collection: str, after: str | None = None) -> AsyncIterator[Change]:
        check_collection(collection)
        if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise Invalid("That cursor does not belong to this feed.", code="invalid_cursor")
        position = self._read(_NEWEST)[0][0] if after is None else int(after)
        return self._follow(collection, position)

    async def purge(self, now: Instant) -> int:
        total = 0
        while removed := await self._purge_some(now):
            total += removed
            await asyncio.sleep(0)
        return total

    async def close(self) -> None:
        """Finishes what was asked for; feeds end."""
        if self._waiting:
            await asyncio.wait([commit.answer for commit in self._waiting])
        if not self._closed:
            self._closed = True
            for events in self._feeds.values():
                for event in events:
                    event.set()
            self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(
                "The store is closed.", code="store_closed", hint="The program is shutting down; ask again."
            )

    def _read(self, statement: str, arguments: Sequence[Any] = ()) -> list[Any]:
        self._check_open()
        try:
            return self._connection.execute(statement, arguments).fetchall()
        except sqlite3.Error as error:
            raise complaint(self._location, error) from error

    def _flush(self) -> None:
        """Writes all that waits, in one transaction, and answers everybody."""
        loop = asyncio.get_running_loop()
        try:
            outcomes = self._write([commit.rows for commit in self._waiting])
        except sqlite3.Error as error:
            if self._may_wait(error, loop.time()):
                loop.call_later(_BUSY_PAUSE_SECONDS, self._flush)
                return
            self._answer([complaint(self._location, error)] * len(self._waiting))
        except Exception as error:  # noqa: BLE001 - whatever it was, it belongs to those who wait, or they wait for ever
            self._answer([error] * len(self._waiting))
        else:
            self._answer(outcomes)

    def _answer(self, outcomes: Sequence[_Outcome]) -> None:
        answered, self._waiting, self._busy_since = self._waiting, [], None
        for commit, outcome in zip(answered, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                self._wake(commit.rows)
            if commit.answer.cancelled():
                continue
            if isinstance(outcome, Exception):
                commit.answer.set_exception(outcome)
            else:
                commit.answer.set_result(outcome)

    def _may_wait(self, error: sqlite3.Error, now: float) -> bool:
        if not is_busy(error):
            return False
        self._busy_since = self._busy_since or now
        return now - self._busy_since < _BUSY_SECONDS

    def _wake(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            for event in self._feeds.get(row.collection, ()):
                event.set()

    def _write(self, commits: Sequence[Sequence[_Row]]) -> list[_Outcome]:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            revision: int = execute(_NEWEST).fetchone()[0]
            outcomes: list[_Outcome] = []
            for rows in commits:
                refusal = next(filter(None, map(self._refusal, rows)), None)
                outcomes.append(refusal or self._apply(rows, revision))
                revision += len(rows)
            execute("UPDATE newest SET revision = ?", (revision,))
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite ends the transaction itself after some failures
                execute("ROLLBACK")
            raise
        return outcomes

    def _refusal(self, row: _Row) -> PullwrightError | None:
        """Why this write cannot be done now. A commit writes a document once, so all can be asked before any is done."""
        write = row.write
        if isinstance(write, Put) or (isinstance(write, Delete) and write.if_revision is None):
            return None
        found = self._connection.execute(_REVISION, (row.collection, row.id)).fetchone()
        if isinstance(write, Create):
            return AlreadyExists(f"{write.path} exists already.") if found else None
        if found is None:
            return Conflict(f"{write.path} is gone.")
        if str(found[0]) != write.if_revision:
            return Conflict(f"{write.path} was changed by somebody else.")
        return None

    def _apply(self, rows: Sequence[_Row], revision: int) -> tuple[str, ...]:
        execute, now = self._connection.execute, self._clock()
        revisions = []
        for row in rows:
            write, revision = row.write, revision + 1
            if isinstance(write, Delete):
                execute(_DELETE, (row.collection, row.id))
                revisions.append("")
                continue
            if isinstance(write, Replace):
                execute(_REPLACE, (revision, now, row.text, row.collection, row.id))
            else:
                values = (revision, row.collection, row.kind, row.id, write.expire_at, now, row.text)
                execute(_INSERT if isinstance(write, Create) else _PUT, values)
            revisions.append(str(revision))
        return tuple(revisions)

    async def _purge_some(self, now: Instant) -> int:
        give_up = asyncio.get_running_loop().time() + _BUSY_SECONDS
        while True:
            self._check_open()
            with complaints(self._location):
                try:
                    return self._connection.execute(_PURGE, (now, _PURGE_BATCH)).rowcount
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or asyncio.get_running_loop().time() > give_up:
                        raise
            await asyncio.sleep(_BUSY_PAUSE_SECONDS)

    async def _follow(self, collection: str, position: int) -> AsyncIterator[Change]:
        news = asyncio.Event()
        self._feeds[collection].add(news)
        try:
            while not self._closed:
                news.clear()
                rows = self._read(_FEED, (collection, position, _FEED_BATCH))
                for name, text, revision in rows:
                    position = revision
                    yield Change(Document(f"{collection}/{name}", _decode(text), str(revision)), str(revision))
                if len(rows) < _FEED_BATCH:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_POLL_SECONDS):
                            await news.wait()
        finally:
            self._feeds[collection].discard(news)
            if not self._feeds[collection]:
                del self._feeds[collection]


def _row(write: Write) -> _Row:
    collection, _, name = write.path.rpartition("/")
    text = "" if isinstance(write, Delete) else msgspec.json.encode(dict(write.data)).decode()
    return _Row(write, collection, last_segment(collection), name, text)


def _decode(text: str) -> Mapping[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])


def _cursor_value(document: Document, query: Query, value: Any) -> Any:
    """What the index holds, with the kind that only the document knows (SQLite gives 0 and 1 for booleans, 0 for null)."""
    if query.order_by is None or isinstance(value, str):
        return value
    return value_at(document.data, query.order_by)
