"""Which run works on an issue, a pull request or a branch right now, and what waits until it has ended.

One subject has one active run: GitHub says the same thing twice (an issue opened with a label arrives as ``opened`` and as
``labeled``), and two pull requests for one issue help nobody. What comes meanwhile waits in order and is never dropped.

A subject is one document with the run in its seat and the numbers of the first and the next waiting ask; the asks lie below
it, keyed by number. Every change goes through the document's revision, so sitting down, getting up and queuing exclude each
other: an ask cannot slip in behind a run that is just leaving.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from infra.core.ask import Wish
from infra.core.clock import MINUTE, Instant, later
from infra.core.ids import RunId
from infra.core.run import Run
from infra.core.store import Create, Delete, Document, Documents, Query, Replace, Where, Write
from infra.records.codec import decode, encode

COLLECTION = "subjects"
LOOK_AGAIN = MINUTE
"""After this the sweeper looks whether the run in the seat has ended without anybody noticing who waits."""

MOST_WAITING = 200
"""A burst beyond this is not a conversation any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """``run_id``: the run that last sat down; it may have ended since; empty after it got up. ``first``, ``next``: numbers of the
    waiting asks, equal when nobody waits. ``started_at``: when the last run sat down. ``wake_at``: for the sweeper, while somebody
    waits."""

    run_id: RunId
    first: int = 0
    next: int = 0
    started_at: Instant | None = None
    wake_at: Instant | None = None

    @property
    def waiting(self) -> int:
        return self.next - self.first


@dataclass(frozen=True, slots=True)
class Seat:
    """A subject as it was read; each of the changes succeeds only if nobody has changed it since."""

    path: str
    revision: str
    holder: Holder | None

    def taking(self, run: Run, *, served: tuple[Queued, ...] = ()) -> tuple[Write, ...]:
        """``run`` sits down; ``served`` are the asks that it takes along, the first ones of those that wait."""
        before = self.holder or Holder(run_id=RunId(""))
        first = before.first + len(served)
        holder = replace(
            before,
            run_id=run.id,
            first=first,
            started_at=run.created_at,
            wake_at=later(run.created_at, LOOK_AGAIN) if first < before.next else None,
        )
        return self._written(holder), *(Delete(queued.path) for queued in served)

    def queuing(self, wish: Wish, now: Instant) -> tuple[Write, ...]:
        """Behind the run in the seat, as the last."""
        assert self.holder is not None, "nobody waits for an empty seat"
        number = self.holder.next
        holder = replace(self.holder, next=number + 1, wake_at=self.holder.wake_at or later(now, LOOK_AGAIN))
        return self._written(holder), Create(f"{self.path}/asks/{number:012d}", encode(wish))

    def leaving(self) -> Write:
        """The run in the seat gets up, and nobody waits."""
        assert self.holder is not None
        return self._written(replace(self.holder, run_id=RunId(""), wake_at=None))

    def looked_at(self, now: Instant) -> Write:
        """The sweeper has seen that the run in the seat goes on."""
        assert self.holder is not None
        return self._written(replace(self.holder, wake_at=later(now, LOOK_AGAIN)))

    def _written(self, holder: Holder) -> Write:
        data = encode(holder)
        return Replace(self.path, data, self.revision) if self.holder else Create(self.path, data)


@dataclass(frozen=True, slots=True)
class Queued:
    """A waiting wish, and where it lies."""

    path: str
    wish: Wish


@dataclass(frozen=True, slots=True)
class Subjects:
    store: Documents

    async def seat(self, full_name: str, subject: int | str) -> Seat:
        """``subject``: the number of an issue or pull request, or the name of a branch."""
        return await self.at(_path(full_name, subject))

    async def at(self, path: str) -> Seat:
        """The same, by the path of a seat that was read before."""
        return _seat(path, await self.store.get(path))

    async def queued(self, seat: Seat, limit: int) -> tuple[Queued, ...]:
        """The first of those that wait, in the order in which they came."""
        page = await self.store.query(f"{seat.path}/asks", Query(limit=limit))
        return tuple(Queued(document.path, decode(document, Wish)) for document in page.documents)

    async def due(self, now: Instant, limit: int = 100) -> tuple[Seat, ...]:
        """Subjects where somebody waits and that nobody has looked at for a while."""
        query = Query(where=(Where("wake_at", "<=", now),), order_by="wake_at", limit=limit)
        page = await self.store.query(COLLECTION, query)
        return tuple(_seat(document.path, document) for document in page.documents)


def _path(full_name: str, subject: int | str) -> str:
    owner, _, name = full_name.lower().partition("/")
    # a branch's name may hold what a path may not
    key = str(subject) if isinstance(subject, int) else f"branch-{hashlib.sha256(subject.encode()).hexdigest()[:32]}"
    return f"{COLLECTION}/{owner}:{name}:{key}"


def _seat(path: str, document: Document | None) -> Seat:
    return Seat(path, document.revision, decode(document, Holder)) if document else Seat(path, "", None)
