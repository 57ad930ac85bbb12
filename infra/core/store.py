"""The storage port: documents under slash paths, changed only by atomic, conditional commits.

Why so narrow: every promise the product makes (one winner per claim, told once, settled once) rests on two
primitives that both SQLite and Firestore have without locks – *create if absent* and *replace if still at this
revision* – applied to several documents at once. ``transact`` builds the optimistic read-modify-write on top,
once, for every back end. Contended lock-based transactions are avoided on purpose: with 20 claimers Firestore's
losers spend ten seconds and end in an error that does not say "you lost".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from infra.core.clock import Instant
from infra.core.errors import Conflict, Invalid

Data = Mapping[str, Any]
"""JSON only: text, whole numbers, floats, booleans, null, lists and string-keyed maps (``infra/core/content.py``)."""

MAX_DOCUMENT_BYTES = 1_000_000
"""One limit for every back end, just under Firestore's 1 MiB (1,048,576 bytes with names and paths counted).
https://firebase.google.com/docs/firestore/quotas"""

_SEGMENT = re.compile(r"(?!\.{1,2}$)(?!__.*__$)[A-Za-z0-9_.:@+=-]{1,400}")


def check_path(path: str) -> str:
    """A document path has an even number of segments: ``collection/id[/collection/id…]``. Raises ``Invalid``."""
    parts = path.split("/")
    if len(parts) % 2 or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise Invalid(f"{path!r} is not a document path.", code="invalid_path")
    return path


@dataclass(frozen=True, slots=True)
class Document:
    """What was stored, and the revision it had when it was read (opaque, changes with every write)."""

    path: str
    data: Data
    revision: str

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Create:
    """Succeeds only if nothing is there. ``expire_at``: may be removed any time after (a store's TTL)."""

    path: str
    data: Data
    expire_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Succeeds only if the document is still at ``if_revision``; replaces the whole content, keeps ``expire_at``."""

    path: str
    data: Data
    if_revision: str


@dataclass(frozen=True, slots=True)
class Put:
    """Writes unconditionally, whether or not something is there."""

    path: str
    data: Data
    expire_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes; with ``if_revision`` only at that revision. Deleting what is absent succeeds when unconditional."""

    path: str
    if_revision: str | None = None


Write = Create | Replace | Put | Delete


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on one field; ``field`` may be dotted (``lease.holder``). A document without the field never matches."""

    field: str
    op: Literal["==", "<", "<=", ">", ">=", "in"]
    value: Any


@dataclass(frozen=True, slots=True)
class Query:
    """``order_by=None`` orders by document id, ascending only. Equal values are ordered by id in the direction of the order,
    so cursors never skip or repeat.

    ``after`` is the ``cursor`` of an earlier page. Documents without the ``order_by`` field are left out, and so are those
    that hold a list or a map there; null counts. Values of different kinds never compare: null < booleans < numbers < text.
    Inequalities are allowed only on the ``order_by`` field (Firestore needs an index for anything else).
    """

    where: tuple[Where, ...] = ()
    order_by: str | None = None
    descending: bool = False
    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor`` continues after the last document, ``None`` when this page was the end."""

    documents: tuple[Document, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A document as it stood after some write. ``cursor`` resumes the feed after this change."""

    document: Document
    cursor: str


class Documents(Protocol):
    """Implemented by SQLite and Firestore; ``tests/contract/test_documents.py`` is the meaning of every sentence here."""

    async def get(self, path: str) -> Document | None:
        """The document, or None. Reads your own and everybody else's acknowledged commits (strong consistency)."""
        ...

    async def commit(self, *writes: Write) -> tuple[str, ...]:
        """Applies all writes or none; returns their new revisions in order (empty text for a delete).

        One commit may write each document once. Raises ``AlreadyExists`` when a ``Create`` found something, ``Conflict`` when
        a revision did not match or the document is gone, ``Invalid`` for what is no JSON (``infra/core/store_rules.py``),
        ``TooLarge`` over ``MAX_DOCUMENT_BYTES``, ``Unavailable`` when the store did not answer (the commit may or may not have
        happened: every caller is written to be repeated). Of any number of concurrent commits that exclude each other
        exactly one succeeds.
        """
        ...

    async def query(self, collection: str, query: Query) -> Page:
        """Documents directly in ``collection`` (``runs``, or ``runs/ID/chunks``)."""
        ...

    def changes(self, collection: str, after: str | None = None) -> AsyncIterator[Change]:
        """Follows a collection: every created or replaced document, in commit order, until the caller stops iterating.

        ``after=None`` starts with this call. Changes of one document in quick succession may be merged into the newest.
        Deletions are not reported. At least once: a change may be repeated around a resume. Never skips.
        """
        ...

    async def purge(self, now: Instant) -> int:
        """Removes documents whose ``expire_at`` has passed; returns how many (0 where the store does it by itself).

        Until something removed it an expired document is read like any other.
        """
        ...

    async def close(self) -> None: ...


T = TypeVar("T")


@dataclass(slots=True)
class Transaction:
    """Reads remember revisions, writes wait for the commit. Only documents read in it may be replaced."""

    store: Documents
    _seen: dict[str, Document | None] = field(default_factory=dict)
    _writes: list[Write] = field(default_factory=list)

    async def get(self, path: str) -> Document | None:
        if path not in self._seen:
            self._seen[path] = await self.store.get(path)
        return self._seen[path]

    def create(self, path: str, data: Data, expire_at: Instant | None = None) -> None:
        self._writes.append(Create(path, data, expire_at))

    def replace(self, path: str, data: Data) -> None:
        document = self._seen.get(path)
        if document is None:
            raise Conflict(f"{path} was not read in this transaction, or does not exist.")
        self._writes.append(Replace(path, data, document.revision))

    def put(self, path: str, data: Data, expire_at: Instant | None = None) -> None:
        self._writes.append(Put(path, data, expire_at))

    def delete(self, path: str) -> None:
        document = self._seen.get(path)
        self._writes.append(Delete(path, document.revision if document else None))

    @property
    def writes(self) -> tuple[Write, ...]:
        return tuple(self._writes)


async def transact(store: Documents, body: Callable[[Transaction], Awaitable[T]], *, attempts: int = 8) -> T:
    """Runs ``body`` against fresh reads until its commit wins; ``body`` must have no effect but its writes.

    Raises ``Conflict`` after ``attempts`` lost races, so a caller can say "busy, ask again" instead of guessing.
    """
    for _ in range(attempts):
        transaction = Transaction(store)
        result = await body(transaction)
        if not transaction.writes:
            return result
        try:
            await store.commit(*transaction.writes)
        except Conflict:
            continue
        return result
    raise Conflict(
        f"Gave up after {attempts} attempts: other writers were faster each time.",
        code="contention",
        hint="Ask again in a moment.",
    )
