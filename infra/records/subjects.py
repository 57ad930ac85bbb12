"""Which run works on an issue or pull request right now. One subject has one active run: GitHub says the same thing twice
(an issue opened with a label arrives as ``opened`` and as ``labeled``), and two pull requests for one issue help nobody."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.ids import RunId
from infra.core.run import Run
from infra.core.store import Create, Documents, Replace, Write
from infra.records.codec import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The run that last worked on a subject; it may have ended since."""

    run_id: RunId


@dataclass(frozen=True, slots=True)
class Seat:
    """A subject as it was read; ``taking`` succeeds only if nobody has sat down since."""

    path: str
    revision: str
    holder: Holder | None

    def taking(self, run: Run) -> Write:
        data = encode(Holder(run_id=run.id))
        return Replace(self.path, data, self.revision) if self.holder else Create(self.path, data)


@dataclass(frozen=True, slots=True)
class Subjects:
    store: Documents

    async def seat(self, full_name: str, number: int) -> Seat:
        owner, _, name = full_name.lower().partition("/")
        path = f"subjects/{owner}:{name}:{number}"
        document = await self.store.get(path)
        if document is None:
            return Seat(path, "", None)
        return Seat(path, document.revision, decode(document, Holder))
