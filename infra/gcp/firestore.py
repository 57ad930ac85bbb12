"""Documents in Firestore (Native mode): the store of every deployment with more than one instance.

Commits are batched writes with preconditions, never transactions: those lock what they read and, with many claimers, end in
an error that does not say who lost. The client's own retries are off for commits: a creation that was done and then tried
again would find itself and report ``AlreadyExists``, and a claim would have no winner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as google
from google.api_core.retry import AsyncRetry, if_transient_error
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore import SERVER_TIMESTAMP, AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # the stubs are a package that nothing else needs

from infra.core.clock import Clock, Instant
from infra.core.errors import Conflict
from infra.core.store import Change, Create, Delete, Document, Page, Query, Replace, Write
from infra.core.store_rules import (
    check_collection,
    check_query,
    check_writes,
    read_cursor,
    split_path,
    value_at,
    write_cursor,
)
from infra.gcp.firestore_content import (
    CHANGED_AT,
    DATA,
    EXPIRE_AT,
    from_microseconds,
    from_stored,
    microseconds,
    timestamp,
    to_stored,
)
from infra.gcp.firestore_errors import translated, translated_commit
from infra.gcp.firestore_feed import PAGE, Entry, Feed, parse_cursor

if TYPE_CHECKING:
    from google.cloud.firestore_v1.async_batch import AsyncWriteBatch
    from google.cloud.firestore_v1.base_document import DocumentSnapshot

_ABORTED_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)  # seconds; an aborted commit was certainly not done
_CLOCK_SKEW = 2_000_000  # microseconds by which our clock may be ahead of Google's

_FAILURES = (google.GoogleAPICallError, google.RetryError, GoogleAuthError)


class FirestoreDocuments:
    """The ``Documents`` port. ``FIRESTORE_EMULATOR_HOST`` is honoured by Google's client.

    Deleting expired documents is the work of the database's TTL policy on ``expire_at``; ``purge`` does nothing.
    The identity needs roles/datastore.user.
    """

    def __init__(
        self,
        *,
        project: str,
        clock: Clock,
        database: str = "(default)",
        poll_seconds: float = 1.0,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._project = project
        self._database = database
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._timeout = timeout_seconds
        # the client's own policy goes on for minutes, longer than anybody waits for an answer
        self._retry = AsyncRetry(if_transient_error, initial=0.05, maximum=1.0, timeout=timeout_seconds)
        self._connected: AsyncClient | None = None
        self._feeds: dict[str, Feed] = {}
        self._committing = 0
        self._last_commit = 0

    async def get(self, path: str) -> Document | None:
        split_path(path)
        with _errors():
            snapshot = await self._client.document(path).get(retry=self._retry, timeout=self._timeout)
        return _document(path, snapshot) if snapshot.exists else None

    async def commit(self, *writes: Write) -> tuple[str, ...]:
        check_writes(writes)
        if not writes:
            return ()
        if not all(_is_revision(write) for write in writes):
            raise Conflict("A document was changed by somebody else: that is not one of its revisions.")
        self._committing += 1
        try:
            results = await self._commit(writes)
        finally:
            self._committing -= 1
        return tuple(
            "" if isinstance(write, Delete) else _revision(result.update_time)
            for write, result in zip(writes, results, strict=True)
        )

    async def query(self, collection: str, query: Query) -> Page:
        check_query(collection, query)
        place = read_cursor(query)
        if any(where.op == "in" and not where.value for where in query.where):
            return Page((), None)
        request = self._request(collection, query, place)
        with _errors():
            snapshots = await request.limit(query.limit + 1).get(retry=self._retry, timeout=self._timeout)
        documents = tuple(_document(f"{collection}/{item.id}", item) for item in snapshots[: query.limit])
        if len(snapshots) <= query.limit:
            return Page(documents, None)
        last = documents[-1]
        value = None if query.order_by is None else value_at(last.data, query.order_by)
        return Page(documents, write_cursor(query, last.id, value))

    def changes(self, collection: str, after: str | None = None) -> AsyncIterator[Change]:
        check_collection(collection)
        cursor = None if after is None else parse_cursor(after)
        feed = self._feeds.get(collection)
        if feed is None:
            feed = self._feeds[collection] = Feed(self._reader(collection), self._clock, self._poll_seconds)
        return feed.follow(self._now(), cursor)

    async def purge(self, now: Instant) -> int:  # noqa: ARG002 - the database's TTL policy has its own clock
        return 0

    async def close(self) -> None:
        for feed in self._feeds.values():
            feed.close()
        if self._connected is not None:
            await self._connected._firestore_api.transport.close()  # noqa: SLF001 - AsyncClient has no close of its own

    @property
    def _client(self) -> AsyncClient:
        """Made at first use, inside the event loop that its channel belongs to."""
        if self._connected is None:
            with _errors():
                self._connected = AsyncClient(project=self._project, database=self._database)
        return self._connected

    async def _commit(self, writes: tuple[Write, ...]) -> list[Any]:
        for pause in (*_ABORTED_PAUSES, None):
            batch = self._client.batch()
            for write in writes:
                self._add(batch, write)
            try:
                results: list[Any] = await batch.commit(retry=None, timeout=self._timeout)
            except google.Aborted as error:
                if pause is None:
                    raise translated_commit(error) from error
                await asyncio.sleep(pause)
            except _FAILURES as error:
                raise translated_commit(error) from error
            else:
                committed_at: Any = batch.commit_time  # declared as None, the value before a commit
                self._last_commit = max(self._last_commit, microseconds(committed_at))
                return results
        raise AssertionError("the last attempt returns or raises")

    def _add(self, batch: AsyncWriteBatch, write: Write) -> None:
        reference = self._client.document(write.path)
        if isinstance(write, Delete):
            batch.delete(reference, self._condition(write.if_revision))
            return
        content: dict[str, Any] = {DATA: to_stored(write.data), CHANGED_AT: SERVER_TIMESTAMP}
        if isinstance(write, Replace):
            batch.update(reference, content, self._condition(write.if_revision))
            return
        if write.expire_at is not None:
            content[EXPIRE_AT] = timestamp(write.expire_at)
        if isinstance(write, Create):
            batch.create(reference, content)
        else:
            batch.set(reference, content)

    def _condition(self, revision: str | None) -> Any:
        if revision is None:
            return None
        seconds, rest = divmod(int(revision), 1_000_000)
        return self._client.write_option(last_update_time=Timestamp(seconds=seconds, nanos=rest * 1_000))

    def _request(self, collection: str, query: Query, place: tuple[str, Any] | None) -> Any:
        request: Any = self._client.collection(collection)
        for where in query.where:
            value = list(where.value) if where.op == "in" else where.value
            request = request.where(filter=FieldFilter(f"{DATA}.{where.field}", where.op, value))
        if query.order_by is None:
            request = request.order_by("__name__")
            return request if place is None else request.start_after([place[0]])
        direction = "DESCENDING" if query.descending else "ASCENDING"
        request = request.order_by(f"{DATA}.{query.order_by}", direction=direction)
        request = request.order_by("__name__", direction=direction)
        # Lists and maps have an order in Firestore only, above all else; the port counts them as absent.
        if not query.descending:
            request = request.end_before([[]])
        elif place is None:
            request = request.start_after([[]])
        return request if place is None else request.start_after([place[1], place[0]])

    def _reader(self, collection: str) -> Any:
        async def read(low: int, after: Entry | None) -> list[Entry]:
            request = self._client.collection(collection).order_by(CHANGED_AT).order_by("__name__")
            if after is None:
                request = request.start_at([from_microseconds(max(0, low))])
            else:
                request = request.start_after([from_microseconds(after.changed_at), after.document.id])
            with _errors():
                snapshots = await request.limit(PAGE).get(retry=self._retry, timeout=self._timeout)
            return [_entry(collection, item) for item in snapshots]

        return read

    def _now(self) -> int:
        """The commit time from which on a new feed reports: exact after our own commits, else a little early."""
        earliest = self._clock() * 1_000 - _CLOCK_SKEW
        return earliest if self._committing else max(earliest, self._last_commit)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise translated(error) from error


def _document(path: str, snapshot: DocumentSnapshot[Any]) -> Document:
    return Document(path, from_stored(snapshot.get(DATA)), _revision(snapshot.update_time))


def _entry(collection: str, snapshot: DocumentSnapshot[Any]) -> Entry:
    return Entry(
        _document(f"{collection}/{snapshot.id}", snapshot),
        microseconds(snapshot.get(CHANGED_AT)),
        microseconds(snapshot.update_time),
    )


def _revision(update_time: datetime) -> str:
    return str(microseconds(update_time))


def _is_revision(write: Write) -> bool:
    revision = getattr(write, "if_revision", None)
    return revision is None or (revision.isascii() and revision.isdecimal() and len(revision) < 18)
