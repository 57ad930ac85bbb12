"""What was tried to make pull requests green, in the store."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.ci_repair import Caps, History, RedCheck, Repair, Verdict, counted, judge
from infra.core.ids import RunId
from infra.core.store import Documents, Transaction, transact
from infra.records.codec import decode, encode


@dataclass(frozen=True, slots=True)
class Repairs:
    store: Documents

    async def judge(
        self, full_name: str, pull: int, red: tuple[RedCheck, ...], *, head: str, run_id: RunId, caps: Caps
    ) -> Verdict:
        """The verdict, and with it the note of what is about to be tried: two runs cannot both have the last attempt. A run
        that was told to repair is told so again."""
        owner, _, name = full_name.lower().partition("/")
        path = f"repairs/{owner}:{name}:{pull}"

        async def body(transaction: Transaction) -> Verdict:
            document = await transaction.get(path)
            before = decode(document, History) if document else History()
            if run_id in before.runs:
                return Repair(red)
            verdict = judge(red, before, head=head, caps=caps)
            after = counted(before, verdict, head=head, run_id=run_id)
            if after != before and document is None:
                transaction.create(path, encode(after))
            elif after != before:
                transaction.replace(path, encode(after))
            return verdict

        return await transact(self.store, body)
