"""What was told about runs, and the platform's comments, in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.core.announcement import Announcement, Conversation
from infra.core.checklist import Item
from infra.core.clock import Instant
from infra.core.ids import RunId
from infra.core.store import Create, Documents, Put, Query, Transaction, Where, Write, transact
from infra.records.codec import decode, encode

COLLECTION = "announcements"


@dataclass(frozen=True, slots=True)
class Announcements:
    store: Documents

    @staticmethod
    def creation(announcement: Announcement) -> Write:
        """Committed together with the run, so that no run is ever forgotten."""
        return Create(f"{COLLECTION}/{announcement.run_id}", encode(announcement))

    async def find(self, run_id: RunId) -> Announcement | None:
        document = await self.store.get(f"{COLLECTION}/{run_id}")
        return decode(document, Announcement) if document else None

    async def change(self, run_id: RunId, rule: Callable[[Announcement], Announcement]) -> Announcement:
        """Applies ``rule`` to the newest state until it wins. The announcement exists."""
        path = f"{COLLECTION}/{run_id}"

        async def body(transaction: Transaction) -> Announcement:
            document = await transaction.get(path)
            assert document is not None, path
            before = decode(document, Announcement)
            after = rule(before)
            if after != before:
                transaction.replace(path, encode(after))
            return after

        return await transact(self.store, body)

    async def due(self, now: Instant, limit: int = 100) -> tuple[Announcement, ...]:
        """Longest overdue first. What has been told has no ``due_at`` and costs nothing."""
        query = Query(where=(Where("due_at", "<=", now), Where("due_at", ">", 0)), order_by="due_at", limit=limit)
        page = await self.store.query(COLLECTION, query)
        return tuple(decode(document, Announcement) for document in page.documents)


@dataclass(frozen=True, slots=True)
class Conversations:
    """One for each issue and pull request, made at the first change."""

    store: Documents

    async def find(self, full_name: str, number: int) -> Conversation:
        document = await self.store.get(_path(full_name, number))
        return decode(document, Conversation) if document else Conversation()

    async def change(
        self, full_name: str, number: int, rule: Callable[[Conversation], Conversation | None]
    ) -> Conversation | None:
        """Applies ``rule``; None from it changes nothing and is passed on."""
        path = _path(full_name, number)

        async def body(transaction: Transaction) -> Conversation | None:
            document = await transaction.get(path)
            before = decode(document, Conversation) if document else Conversation()
            after = rule(before)
            if after is None or after == before:
                return after
            if document is None:
                transaction.create(path, encode(after))
            else:
                transaction.replace(path, encode(after))
            return after

        return await transact(self.store, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Checklists:
    """The agents' own checklists, the newest of each run."""

    store: Documents

    async def put(self, run_id: RunId, items: Sequence[Item]) -> None:
        await self.store.commit(Put(f"checklists/{run_id}", encode(_List(items=tuple(items)))))

    async def of(self, run_id: RunId) -> tuple[Item, ...]:
        document = await self.store.get(f"checklists/{run_id}")
        return decode(document, _List).items if document else ()


def _path(full_name: str, number: int) -> str:
    owner, _, name = full_name.lower().partition("/")
    return f"conversations/{owner}:{name}:{number}"
