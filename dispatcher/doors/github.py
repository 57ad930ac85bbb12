"""The GitHub door: raw bytes → signature → typed event → occasion → judgement → run, a place in line, or a reason that is kept.

The answer must be out within GitHub's ten seconds. For a label or an assignment nothing is asked of GitHub, and it is out
in milliseconds; what anybody can cause (a comment, an opened pull request) waits for GitHub's word about the sender. Whatever
was decided here, the sender's permission is asked for again when a runner claims.
"""

from __future__ import annotations

import logging
from typing import Any

from starlette.responses import Response

from dispatcher.call import MIB, Call, reply
from dispatcher.doors.installed import settings_of
from dispatcher.engine.admit import Admission, admit, turn_away
from dispatcher.engine.receipt import Receipt
from dispatcher.engine.witness import judged
from dispatcher.services import Services
from infra.core.clock import Instant
from infra.core.matching import Case, Heard
from infra.core.occasion import Nothing, Occasion
from infra.core.requested import wish_of
from infra.core.trigger import Ignored, Refused
from infra.github.events import Event, Unhandled
from infra.github.occasions import occasion
from infra.github.payloads import Ping
from infra.github.webhook import VerifiedDelivery, parse, verify
from infra.platform_secrets import WEBHOOK_SECRET
from infra.records.deliveries import ACCEPTED, IGNORED, NOTED, REFUSED, WAITING

MAX_PAYLOAD = 25 * MIB
"""GitHub sends nothing larger. https://docs.github.com/en/webhooks/webhook-events-and-payloads"""

_log = logging.getLogger("dispatcher")


async def receive(call: Call) -> Response:
    """``POST /webhook/github``: 202 with the run, or with the place in line; 200 for what starts nothing (and why); 401 for a
    bad signature."""
    services = call.services
    body = await call.body(MAX_PAYLOAD)
    delivery = verify(await services.platform.current(WEBHOOK_SECRET), call.request.headers.raw, body)
    event = parse(delivery)
    if isinstance(event, Ping):
        return reply({"status": "pong", "zen": event.zen})
    return _answer(await _heard(event, delivery, services))


async def _heard(event: Event, delivery: VerifiedDelivery, services: Services) -> Admission:
    now = services.clock()
    if isinstance(event, Unhandled):
        # counted by the log, from which the cloud makes its metrics
        _log.info("delivery noted", extra={"event": delivery.event, "action": event.action[:64]})
        reason = f"The event {delivery.event} starts nothing."
        return await turn_away(NOTED, reason, _receipt(event, delivery, None, now), services)
    await settings_of(event, services)
    found = occasion(event, now)
    receipt = _receipt(event, delivery, found, now)
    if isinstance(found, Nothing):
        return await turn_away(NOTED, found.reason, receipt, services)
    return await _judge(found, receipt, services)


async def _judge(found: Occasion, receipt: Receipt, services: Services) -> Admission:
    in_force = await services.triggers.of(found.repository, found.installation_id, services.forge)
    case = Case(occasion=found, triggers=in_force.triggers, policy=services.policy, delivery=receipt.keys[0])
    verdict = await judged(case, services)
    if isinstance(verdict, Heard):
        return await admit(wish_of(verdict, found), verdict.trigger, receipt, services)
    assert isinstance(verdict, Ignored | Refused)
    outcome = IGNORED if isinstance(verdict, Ignored) else REFUSED
    reason = f"{verdict.reason} ({in_force.problem})" if in_force.problem else verdict.reason
    return await turn_away(outcome, reason, receipt, services)


def _receipt(event: Event, delivery: VerifiedDelivery, found: Occasion | Nothing | None, now: Instant) -> Receipt:
    known = found if isinstance(found, Occasion) else None
    return Receipt(
        source="github",
        id=delivery.id,
        event=delivery.event,
        body_sha256=delivery.body_sha256,
        received_at=now,
        action=str(getattr(event, "action", "")),
        repository=str(known.repository) if known else "",
        subject=known.subject if known else "",
        sender=known.sender.login if known else "",
    )


def _answer(admission: Admission) -> Response:
    """202 for whatever will be worked on."""
    shown: dict[str, Any] = {"status": admission.outcome}
    if admission.reason:
        shown["reason"] = admission.reason
    if admission.run_id:
        shown["run_id"] = admission.run_id
    if admission.position:
        shown["position"] = admission.position
    if admission.repeated:
        shown["duplicate"] = True
    return reply(shown, 202 if admission.outcome in {ACCEPTED, WAITING} else 200)
