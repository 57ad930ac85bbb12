"""The GitHub door: raw bytes → signature → typed event → decision → run, or a reason that is kept.

Nothing is asked of GitHub here: the answer must be out within GitHub's ten seconds, and it is out in milliseconds.
What the payload cannot prove (may the sender start runs, does the branch exist) is checked when a runner claims.
"""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.call import MIB, Call, reply
from dispatcher.engine.launch import launch, new_run
from dispatcher.services import Services
from infra.core.clock import Instant
from infra.core.errors import AlreadyExists, Conflict, Unavailable
from infra.core.repository import parse_full_name
from infra.core.run import Run
from infra.core.store import Write
from infra.core.trigger import Accepted, Ignored, IssueTrigger, RunRequest, decide
from infra.github.payloads import IssuesEvent, Ping
from infra.github.webhook import VerifiedDelivery, parse, verify
from infra.platform_secrets import WEBHOOK_SECRET
from infra.records.deliveries import Deliveries, Delivery

MAX_PAYLOAD = 25 * MIB
"""GitHub sends nothing larger. https://docs.github.com/en/webhooks/webhook-events-and-payloads"""

_TRIES = 4


async def receive(call: Call) -> Response:
    """``POST /webhook/github``: 202 with the run, 200 for what starts nothing (and why), 401 for a bad signature."""
    services = call.services
    body = await call.body(MAX_PAYLOAD)
    delivery = verify(await services.platform.current(WEBHOOK_SECRET), call.request.headers.raw, body)
    event = parse(delivery)
    match event:
        case Ping():
            return reply({"status": "pong", "zen": event.zen})
        case IssuesEvent():
            return await _issue(event, delivery, services)
        case _:
            return await _ignore(delivery, f"The event {delivery.event} starts nothing.", services)


async def _issue(event: IssuesEvent, delivery: VerifiedDelivery, services: Services) -> Response:
    decision = decide(_trigger(event, delivery), services.policy)
    if not isinstance(decision, Accepted):
        outcome = "ignored" if isinstance(decision, Ignored) else "refused"
        return await _ignore(delivery, decision.reason, services, outcome)
    return await _start(decision.request, delivery, services)


async def _start(request: RunRequest, delivery: VerifiedDelivery, services: Services) -> Response:
    """The run, its delivery's locks and the issue's seat in one commit; whoever loses a lock looks again why."""
    now = services.clock()
    run = new_run(request, services, now)
    for _ in range(_TRIES):
        seat = await services.subjects.seat(run.full_name, run.origin.issue)
        if seat.holder and not (active := await services.runs.get(seat.holder.run_id)).ended:
            return await _ignore(delivery, f"Run {active.id} already works on issue #{run.origin.issue}.", services)
        try:
            await launch(run, services, *_locks(delivery, "accepted", "", run, now), seat.taking(run))
        except Conflict:
            if await services.deliveries.find(*_lock_keys(delivery)):
                return await _repeated(delivery, services)
            continue
        return reply({"status": "accepted", "run_id": run.id}, 202)
    raise Unavailable(
        "Too many deliveries for this issue at once.", code="contention", hint="Redeliver it from the App's settings."
    )


async def _ignore(delivery: VerifiedDelivery, reason: str, services: Services, outcome: str = "ignored") -> Response:
    try:
        await services.store.commit(*_locks(delivery, outcome, reason, None, services.clock()))
    except AlreadyExists:
        return await _repeated(delivery, services)
    return reply({"status": outcome, "reason": reason})


async def _repeated(delivery: VerifiedDelivery, services: Services) -> Response:
    """The answer that the first copy got, so that a sender that missed it loses nothing."""
    first = await services.deliveries.find(*_lock_keys(delivery))
    if first is None or first.outcome != "accepted":
        return reply(
            {"status": "duplicate", "reason": first.reason if first else "This delivery was already received."}
        )
    return reply({"status": "accepted", "run_id": first.run_id, "duplicate": True}, 202)


def _lock_keys(delivery: VerifiedDelivery) -> tuple[str, str]:
    return f"github:{delivery.id}", f"github-body:{delivery.body_sha256}"


def _locks(delivery: VerifiedDelivery, outcome: str, reason: str, run: Run | None, now: Instant) -> tuple[Write, ...]:
    record = Delivery(
        source="github",
        id=delivery.id,
        event=delivery.event,
        outcome=outcome,
        reason=reason,
        run_id=run.id if run else "",
        received_at=now,
    )
    id_key, body_key = _lock_keys(delivery)
    # an ignored delivery needs no lock on its body: a replay would be ignored again
    return Deliveries.creations(record, id_key=id_key, body_key=body_key if run else None)


def _trigger(event: IssuesEvent, delivery: VerifiedDelivery) -> IssueTrigger:
    issue = event.issue
    return IssueTrigger(
        repository=parse_full_name(event.repository.full_name),
        installation_id=event.installation.id,
        action=event.action,
        number=issue.number,
        title=issue.title,
        body=issue.body or "",
        url=issue.html_url,
        label=event.label.name if event.label else "",
        labels=tuple(label.name for label in issue.labels),
        sender=event.sender.login,
        sender_is_bot=event.sender.type == "Bot",
        delivery=delivery.id,
        body_sha256=delivery.body_sha256,
    )
