"""The queue's table and every statement on it; each function runs inside a transaction that somebody else opened.

A row is ``open`` (waiting or leased), ``done`` (only its name is kept, so that it cannot be used again) or ``dead`` (a dead
letter). A lease is nothing but a later ``due_at``: when its holder dies, the row comes due by itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.core.clock import DAY, HOUR, SECOND, Instant, later
from infra.core.errors import Invalid
from infra.core.queue import MAX_DEADLINE_SECONDS, MIN_DEADLINE_SECONDS, Task, check_task
from infra.local.queue_rules import Again, Answer, Buried, Finished, Returned, Verdict

NAMES_KEPT = HOUR
DEAD_LETTERS_KEPT = 31 * DAY
"""As long as Cloud Tasks keeps an undelivered task. https://cloud.google.com/tasks/docs/quotas"""

LEASE_MARGIN = 10 * SECOND
"""A lease outlives its attempt's deadline by this much, so a healthy pump always settles first."""

PURGE_BATCH = 5_000
VERSION = 1
SCHEMA = (
    """
    CREATE TABLE tasks (
      id INTEGER PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      state TEXT NOT NULL DEFAULT 'open',
      url TEXT NOT NULL,
      headers TEXT NOT NULL,
      body BLOB NOT NULL,
      audience TEXT NOT NULL,
      deadline_ms INTEGER NOT NULL,
      due_at INTEGER NOT NULL,
      leased INTEGER NOT NULL DEFAULT 0,
      attempts INTEGER NOT NULL DEFAULT 0,
      executions INTEGER NOT NULL DEFAULT 0,
      last_status INTEGER,
      reason TEXT NOT NULL DEFAULT '',
      ended_at INTEGER
    )
    """,
    "CREATE INDEX tasks_open ON tasks (due_at, id) WHERE state = 'open'",
    "CREATE INDEX tasks_ended ON tasks (state, ended_at) WHERE state <> 'open'",
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make one attempt. ``attempt`` counts from 1 and fences: a later lease makes this one void.

    ``executions``: earlier attempts that were answered; ``last_status``: what the one before was answered with.
    """

    id: int
    task: Task
    deadline_seconds: float
    eta: Instant
    attempt: int
    executions: int
    last_status: int | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that was given up. ``last_status`` is None when its last attempt was not answered."""

    name: str
    url: str
    attempts: int
    last_status: int | None
    reason: str
    died_at: Instant


def insert(connection: sqlite3.Connection, task: Task, now: Instant) -> bool:
    """False when the name is known, whether its task is open, done or dead."""
    cursor = connection.execute(
        "INSERT INTO tasks (name, url, headers, body, audience, deadline_ms, due_at) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO NOTHING",
        (
            task.name,
            task.url,
            json.dumps(dict(task.headers)),
            task.body,
            task.audience,
            task.deadline_seconds * SECOND,
            now if task.schedule_at is None else task.schedule_at,
        ),
    )
    return cursor.rowcount == 1


def lease(
    connection: sqlite3.Connection, now: Instant, limit: int, max_attempts: int
) -> tuple[list[Lease], Instant | None]:
    """At most ``limit`` due tasks, longest due first, and when the next one is due. Rows that make no sense are buried."""
    due = connection.execute(
        "SELECT id, name, url, headers, body, audience, deadline_ms, due_at, attempts, executions, last_status "
        "FROM tasks WHERE state = 'open' AND due_at <= ? ORDER BY due_at, id LIMIT ?",
        (now, limit),
    ).fetchall()
    leases = []
    for row in due:
        try:
            found = _parse(row)
        except Invalid as error:
            _end(connection, row[0], "dead", f"The stored task makes no sense: {error.message}", now)
            continue
        if found.attempt > max_attempts:
            _end(connection, found.id, "dead", "The queue was stopped during the last attempt.", now)
            continue
        lapses_at = later(now, found.deadline_seconds * SECOND + LEASE_MARGIN)
        connection.execute(
            "UPDATE tasks SET leased = 1, attempts = ?, due_at = ? WHERE id = ?", (found.attempt, lapses_at, found.id)
        )
        leases.append(found)
    (next_due,) = connection.execute("SELECT min(due_at) FROM tasks WHERE state = 'open'").fetchone()
    return leases, Instant(next_due) if isinstance(next_due, int) else None


def settle(connection: sqlite3.Connection, held: Lease, answer: Answer, verdict: Verdict, now: Instant) -> bool:
    """Writes down how an attempt ended. False, and nothing changes, when the lease had lapsed and was given out anew."""
    cursor = connection.execute(
        "UPDATE tasks SET leased = 0, last_status = ?, executions = executions + ? "
        "WHERE id = ? AND attempts = ? AND leased = 1 AND state = 'open'",
        (answer.status, answer.counts_as_execution, held.id, held.attempt),
    )
    if cursor.rowcount == 0:
        return False
    match verdict:
        case Finished():
            _end(connection, held.id, "done", "", now)
            connection.execute(
                "UPDATE tasks SET url = '', headers = '', body = x'', audience = '' WHERE id = ?", (held.id,)
            )
        case Again(due_at):
            connection.execute("UPDATE tasks SET due_at = ? WHERE id = ?", (due_at, held.id))
        case Buried(reason):
            _end(connection, held.id, "dead", reason, now)
        case Returned():
            connection.execute(
                "UPDATE tasks SET due_at = ?, attempts = attempts - 1, last_status = ? WHERE id = ?",
                (held.eta, held.last_status, held.id),
            )
    return True


def recover(connection: sqlite3.Connection, now: Instant) -> int:
    """Makes due what a dead pump had leased. Only for the holder of the lock: then nobody else can hold a lease."""
    return connection.execute(
        "UPDATE tasks SET leased = 0, due_at = ? WHERE state = 'open' AND leased <> 0", (now,)
    ).rowcount


def clean(connection: sqlite3.Connection, now: Instant) -> bool:
    """Forgets old names and old dead letters, a batch at a time; True when there is more to do."""
    # In SQLite every text and blob sorts above every number: such a due_at would never come due and never be seen.
    connection.execute(
        "UPDATE tasks SET state = 'dead', leased = 0, reason = 'The stored task makes no sense: due_at', ended_at = ? "
        "WHERE state = 'open' AND due_at >= ''",
        (now,),
    )
    removed = [
        connection.execute(
            "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state = ? AND ended_at < ? LIMIT ?)",
            (state, now - kept, PURGE_BATCH),
        ).rowcount
        for state, kept in (("done", NAMES_KEPT), ("dead", DEAD_LETTERS_KEPT))
    ]
    return PURGE_BATCH in removed


def dead_letters(connection: sqlite3.Connection, limit: int) -> tuple[DeadLetter, ...]:
    """The latest first."""
    rows = connection.execute(
        "SELECT name, url, attempts, last_status, reason, ended_at FROM tasks WHERE state = 'dead' "
        "ORDER BY ended_at DESC, id DESC LIMIT ?",
        (limit,),
    )
    return tuple(
        DeadLetter(_shown(name), _shown(url), _number(attempts) or 0, _number(status), reason, Instant(died_at))
        for name, url, attempts, status, reason, died_at in rows
    )


def replay(connection: sqlite3.Connection, name: str, now: Instant) -> str:
    """The state in which the task was found: ``dead`` (now open again), ``open``, ``done``, or empty for an unknown name."""
    row = connection.execute("SELECT state FROM tasks WHERE name = ?", (name,)).fetchone()
    connection.execute(
        "UPDATE tasks SET state = 'open', due_at = ?, attempts = 0, executions = 0, last_status = NULL, reason = '', "
        "ended_at = NULL WHERE name = ? AND state = 'dead'",
        (now, name),
    )
    return str(row[0]) if row else ""


def _end(connection: sqlite3.Connection, row_id: int, state: str, reason: str, now: Instant) -> None:
    connection.execute(
        "UPDATE tasks SET state = ?, leased = 0, reason = ?, ended_at = ? WHERE id = ?", (state, reason, now, row_id)
    )


def _parse(row: Sequence[Any]) -> Lease:
    """A row of the file is as hostile as anything else on a disk. Raises ``Invalid``."""
    row_id, name, url, headers, body, audience, deadline_ms, due_at, attempts, executions, last_status = row
    if not all(isinstance(text, str) for text in (name, url, headers, audience)) or not isinstance(body, bytes):
        raise Invalid("a column has the wrong type")
    if not all(isinstance(number, int) for number in (deadline_ms, due_at, attempts, executions)):
        raise Invalid("a number is missing")
    if not 0 < deadline_ms <= MAX_DEADLINE_SECONDS * SECOND or attempts < 0:
        raise Invalid("a number is out of range")
    task = Task(
        name=name,
        url=url,
        body=body,
        headers=_headers(headers),
        deadline_seconds=MIN_DEADLINE_SECONDS,
        audience=audience,
    )
    return Lease(
        id=row_id,
        task=check_task(task, Instant(due_at)),
        deadline_seconds=deadline_ms / SECOND,
        eta=Instant(due_at),
        attempt=attempts + 1,
        executions=executions,
        last_status=_number(last_status),
    )


def _headers(text: str) -> dict[str, str]:
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid("its headers are not JSON") from None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise Invalid("its headers are not texts")
    return headers


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _shown(value: object) -> str:
    return str(value).encode("ascii", "backslashreplace").decode()
