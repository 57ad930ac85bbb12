"""Finds deliveries that GitHub could not hand over and asks for them again: GitHub itself never does.

https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from dispatcher.services import Services
from infra.core.clock import HOUR, MINUTE, Instant, later
from infra.core.errors import NotFound
from infra.core.hook import KEPT_FOR, Hook, asked_again, missed
from infra.records.missed import MissedDeliveries

OVERLAP = 5 * MINUTE
"""An attempt shows in the list a little after its time; looking twice costs nothing."""

FIRST_LOOK = 6 * HOUR
_GUID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_log = logging.getLogger("dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """Attempts that were looked at; deliveries newly found missing; asked for again; meanwhile arrived; given up."""

    looked_at: int
    missed: int
    asked_again: int
    arrived: int
    given_up: int


async def reconcile(services: Services) -> Reconciled:
    """One pass; safe to run twice at once: a delivery that comes twice is dealt with once."""
    hook = (await services.forge()).hook()
    records = MissedDeliveries(services.store)
    looked_at, found = await _look(hook, records, services.clock())
    again = arrived = given_up = 0
    for missing in await records.due(services.clock()):
        if await services.deliveries.find(f"github:{missing.guid}"):
            await records.forget(missing.guid)
            arrived += 1
            continue
        try:
            await hook.send_again(missing.sent)
        except NotFound:
            given_up += 1
            await records.forget(missing.guid)
            continue
        again += 1
        after = asked_again(missing, services.clock())
        given_up += after.next_at is None
        await records.change(after)
    if found or given_up:
        _log.warning("deliveries missed", extra={"found": found, "asked_again": again, "given_up": given_up})
    return Reconciled(looked_at=looked_at, missed=found, asked_again=again, arrived=arrived, given_up=given_up)


async def _look(hook: Hook, records: MissedDeliveries, now: Instant) -> tuple[int, int]:
    """Walks GitHub's list back to where the last look began; returns how many it saw, and how many were new and missing."""
    before = await records.looked_until()
    oldest = max(later(before, -OVERLAP) if before is not None else later(now, -FIRST_LOOK), later(now, -KEPT_FOR))
    arrived: set[str] = set()
    seen = found = 0
    async for sent in hook.sent():
        if sent.at < oldest:
            break
        seen += 1
        if sent.arrived:
            arrived.add(sent.guid)  # newest first: a later attempt has made up for the older ones
        elif sent.guid not in arrived and sent.worth_repeating and _GUID.fullmatch(sent.guid):
            found += await records.add(missed(sent, now))
    await records.look_from(now)
    return seen, found
