"""What people ask of a live run, in the store: ordered documents under their run, each with what became of it.

A command's number is part of its id, so adding one is a create-if-absent: two people who ask at once get two numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.core.clock import Instant, later
from infra.core.errors import AlreadyExists, Conflict, NotFound
from infra.core.ids import RunId
from infra.core.store import Create, Documents, Query, Transaction, Where, transact
from infra.records.codec import decode, encode

MAX_COMMANDS = 1_000
"""Of one run; a person does not type more, and a script that does is told."""

WAITING = "waiting"
_ROOM_FOR_STOPS = 100
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """``kind`` and ``data`` as in ``infra/wire.py``. ``state``: ``waiting``, then ``done``, ``refused`` or ``failed``."""

    sequence: int
    id: str
    kind: str
    data: Mapping[str, Any]
    issued_by: str
    at: Instant
    state: str = WAITING
    exit_code: int | None = None
    text: str = ""
    artifact: str = ""
    finished_at: Instant | None = None

    @property
    def finished(self) -> bool:
        return self.state != WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command before it has a number."""

    kind: str
    data: Mapping[str, Any]
    issued_by: str
    at: Instant
    state: str = WAITING
    text: str = ""

    def numbered(self, sequence: int) -> CommandRecord:
        return CommandRecord(
            sequence=sequence,
            id=f"cmd-{sequence:06d}",
            kind=self.kind,
            data=self.data,
            issued_by=self.issued_by,
            at=self.at,
            state=self.state,
            text=self.text,
            finished_at=None if self.state == WAITING else self.at,
        )

    @property
    def most(self) -> int:
        """There is always room for a stop."""
        return MAX_COMMANDS + (_ROOM_FOR_STOPS if self.kind == "stop" else 0)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.kind, sorted(self.data.items()), self.issued_by)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What an idempotency key stood for the first time."""

    command_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Commands:
    """The repository of commands. ``retention``: milliseconds that they are kept."""

    store: Documents
    retention: int

    async def add(self, run_id: RunId, command: NewCommand, *, key: str = "") -> tuple[CommandRecord, bool]:
        """The stored command, and whether it is new: the same ``key`` again gives the first one.

        Raises ``Conflict``: ``idempotency_key_reused`` for another request under the same key, ``too_many_commands``.
        """
        key_path = f"{_collection(run_id)}_keys/{hashlib.sha256(key.encode()).hexdigest()}"
        for _ in range(_ATTEMPTS):
            if key and (before := await self._before(run_id, key_path, command)):
                return before, False
            record = command.numbered(await self._next(run_id, command.most))
            expire_at = later(command.at, self.retention)
            writes = [Create(f"{_collection(run_id)}/{record.id}", encode(record), expire_at)]
            if key:
                stood_for = _Key(command_id=record.id, fingerprint=command.fingerprint)
                writes.append(Create(key_path, encode(stood_for), expire_at))
            try:
                await self.store.commit(*writes)
            except AlreadyExists:
                continue
            return record, True
        raise Conflict("Too many people ask at once.", code="contention", hint="Ask again in a moment.")

    async def after(self, run_id: RunId, sequence: int, *, limit: int = 100) -> tuple[CommandRecord, ...]:
        """Commands with a number above ``sequence``, in order."""
        query = Query(where=(Where("sequence", ">", sequence),), order_by="sequence", limit=limit)
        page = await self.store.query(_collection(run_id), query)
        return tuple(decode(document, CommandRecord) for document in page.documents)

    async def finish(self, run_id: RunId, command_id: str, result: Mapping[str, Any], now: Instant) -> CommandRecord:
        """Writes down once what became of a command; told again it stays as it is. Raises ``NotFound``."""
        path = f"{_collection(run_id)}/{command_id}"

        async def body(transaction: Transaction) -> CommandRecord:
            document = await transaction.get(path)
            if document is None:
                raise NotFound(f"Run {run_id} has no command {command_id[:40]}.", code="unknown_command")
            before = decode(document, CommandRecord)
            if before.finished:
                return before
            after = replace(before, **result, finished_at=now)
            transaction.replace(path, encode(after))
            return after

        return await transact(self.store, body)

    async def _before(self, run_id: RunId, key_path: str, command: NewCommand) -> CommandRecord | None:
        document = await self.store.get(key_path)
        if document is None:
            return None
        first = decode(document, _Key)
        if first.fingerprint != command.fingerprint:
            raise Conflict(
                "This Idempotency-Key was used for a different request.",
                code="idempotency_key_reused",
                hint="Use a new key for a new request.",
            )
        stored = await self.store.get(f"{_collection(run_id)}/{first.command_id}")
        return decode(stored, CommandRecord) if stored else None

    async def _next(self, run_id: RunId, most: int) -> int:
        page = await self.store.query(_collection(run_id), Query(order_by="sequence", descending=True, limit=1))
        last = decode(page.documents[0], CommandRecord).sequence if page.documents else 0
        if last >= most:
            raise Conflict(
                f"Run {run_id} has had {last} commands.",
                code="too_many_commands",
                hint="Let it end, then continue it as a new run.",
            )
        return last + 1


def _collection(run_id: RunId) -> str:
    return f"runs/{run_id}/commands"
