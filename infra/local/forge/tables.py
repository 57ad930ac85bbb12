"""Rows in memory, each change written through to one SQLite file, so that a restart finds the forge as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything the forge remembers. Ids are unique over all kinds and only grow."""

    id: int


R = TypeVar("R", bound=Row)

_MARK, _IDS_AHEAD = "ids given out", 1_000


class Database:
    """One file, used by one process at a time. Survives ``kill -9`` of the program: SQLite's write-ahead log."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError`` when another process holds the file."""
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise OSError(f"{path.parent} is in use by another local forge ({error}).") from None
        newest = self._connection.execute("SELECT coalesce(max(id), 1000) FROM rows").fetchone()
        self._last_id = self._reserved = int(newest[0])

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL loses nothing when the program dies, only when the machine does: enough for a rehearsal.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS rows (kind TEXT, id INTEGER, body BLOB, PRIMARY KEY (kind, id))"
        )

    def next_id(self) -> int:
        self._last_id += 1
        if self._last_id > self._reserved:
            # Noted ahead, so that a deleted row's id is not given again after a restart.
            self.remove(_MARK, self._reserved)
            self._reserved = self._last_id + _IDS_AHEAD
            self.save(_MARK, self._reserved, b"")
        return self._last_id

    def reserve_id(self, wanted: int) -> int:
        """An id chosen by the caller (an App's); later ids stay above it."""
        self._last_id = max(self._last_id, wanted)
        return wanted

    def load(self, kind: str) -> Iterator[bytes]:
        for (body,) in self._connection.execute("SELECT body FROM rows WHERE kind = ? ORDER BY id", (kind,)):
            yield body

    def save(self, kind: str, row_id: int, body: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (kind, row_id, body))

    def remove(self, kind: str, row_id: int) -> None:
        self._connection.execute("DELETE FROM rows WHERE kind = ? AND id = ?", (kind, row_id))

    def close(self) -> None:
        self._connection.close()


class Table(Generic[R]):
    """All rows of one kind, oldest first. ``key`` is a second unique way to find a row, ``group`` what it belongs to.

    Neither key nor group of a row ever changes.
    """

    def __init__(
        self,
        database: Database,
        row_type: type[R],
        *,
        key: Callable[[R], Hashable] = lambda row: row.id,
        group: Callable[[R], Hashable] = lambda _: None,
    ) -> None:
        self._database = database
        self._kind = row_type.__name__
        self._key = key
        self._group = group
        self._rows: dict[int, R] = {}
        self._by_key: dict[Hashable, R] = {}
        self._groups: dict[Hashable, dict[int, R]] = {}
        decoder = msgspec.json.Decoder(row_type)
        for body in database.load(self._kind):
            self._keep(decoder.decode(body))

    def _keep(self, row: R) -> None:
        self._rows[row.id] = row
        self._by_key[self._key(row)] = row
        self._groups.setdefault(self._group(row), {})[row.id] = row

    def put(self, row: R) -> R:
        """Adds or replaces."""
        self._database.save(self._kind, row.id, msgspec.json.encode(row))
        self._keep(row)
        return row

    def delete(self, row: R) -> None:
        self._database.remove(self._kind, row.id)
        self._rows.pop(row.id, None)
        self._by_key.pop(self._key(row), None)
        self._groups.get(self._group(row), {}).pop(row.id, None)

    def get(self, row_id: int) -> R | None:
        return self._rows.get(row_id)

    def at(self, key: Hashable) -> R | None:
        return self._by_key.get(key)

    def of(self, group: Hashable) -> list[R]:
        return list(self._groups.get(group, {}).values())

    def count(self, group: Hashable) -> int:
        return len(self._groups.get(group, {}))

    def oldest(self, count: int) -> list[R]:
        return list(islice(self._rows.values(), max(count, 0)))

    def where(self, condition: Callable[[R], bool]) -> list[R]:
        return [row for row in self._rows.values() if condition(row)]

    def __iter__(self) -> Iterator[R]:
        return iter(tuple(self._rows.values()))

    def __len__(self) -> int:
        return len(self._rows)
