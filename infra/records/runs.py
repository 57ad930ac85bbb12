"""Runs in the store: every change is a pure rule of ``infra.core.run`` applied under a revision check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.errors import NotFound
from infra.core.ids import RunId
from infra.core.repository import Repository
from infra.core.run import Run, State
from infra.core.store import Create, Documents, Query, Transaction, Where, Write, transact
from infra.records.codec import decode, encode

COLLECTION = "runs"


def path(run_id: RunId) -> str:
    return f"{COLLECTION}/{run_id}"


@dataclass(frozen=True, slots=True)
class RunPage:
    runs: tuple[Run, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Runs:
    """The repository of runs."""

    store: Documents

    @staticmethod
    def creation(run: Run) -> Write:
        """The write that makes the run exist; committed together with whatever must be true at the same time."""
        return Create(path(run.id), encode(run))

    async def get(self, run_id: RunId) -> Run:
        """Raises ``NotFound``."""
        document = await self.store.get(path(run_id))
        if document is None:
            raise _unknown(run_id)
        return decode(document, Run)

    async def change(self, run_id: RunId, rule: Callable[[Run], Run]) -> Run:
        """Applies ``rule`` to the newest state until it wins; whatever ``rule`` raises ends the attempt unchanged."""

        async def body(transaction: Transaction) -> Run:
            document = await transaction.get(path(run_id))
            if document is None:
                raise _unknown(run_id)
            before = decode(document, Run)
            after = rule(before)
            if after != before:
                transaction.replace(path(run_id), encode(after))
            return after

        return await transact(self.store, body)

    async def list(self, *, state: State | None = None, limit: int = 50, after: str | None = None) -> RunPage:
        """Newest first."""
        where = (Where("state", "==", state.value),) if state else ()
        query = Query(where=where, order_by="created_at", descending=True, limit=limit, after=after)
        page = await self.store.query(COLLECTION, query)
        return RunPage(tuple(decode(document, Run) for document in page.documents), page.cursor)

    async def waiting_before(self, run: Run, most: int = 50) -> int:
        """How many queued runs were made before this one, counted up to ``most``."""
        where = (Where("state", "==", State.QUEUED.value), Where("created_at", "<", run.created_at))
        page = await self.store.query(COLLECTION, Query(where=where, order_by="created_at", limit=most))
        return len(page.documents)

    async def of_repository(self, repository: Repository, *, limit: int = 50, after: str | None = None) -> RunPage:
        """Newest first."""
        where = (Where("owner", "==", repository.owner), Where("repo", "==", repository.name))
        query = Query(where=where, order_by="created_at", descending=True, limit=limit, after=after)
        page = await self.store.query(COLLECTION, query)
        return RunPage(tuple(decode(document, Run) for document in page.documents), page.cursor)

    async def due(self, now: Instant, limit: int = 100) -> tuple[Run, ...]:
        """Runs that the sweeper must look at, longest overdue first. Ended runs have no ``wake_at`` and cost nothing."""
        query = Query(where=(Where("wake_at", "<=", now),), order_by="wake_at", limit=limit)
        page = await self.store.query(COLLECTION, query)
        return tuple(decode(document, Run) for document in page.documents)


def _unknown(run_id: RunId) -> NotFound:
    return NotFound(f"There is no run {run_id}.", code="unknown_run", hint="GET /api/runs lists the runs.")
