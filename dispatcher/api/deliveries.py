"""``GET /api/deliveries``: what came in, and what became of it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from dispatcher.call import Call, reply, whole_number
from infra.core.clock import iso
from infra.core.errors import Invalid
from infra.records.deliveries import OUTCOMES, Delivery

MAX_PAGE = 200


async def list_deliveries(call: Call) -> Response:
    """Newest first, each with its outcome and the reason; ``?outcome=``, ``?limit=`` (1–200), ``?after=`` the cursor of the page before."""
    query = call.request.query_params
    outcome = query.get("outcome", "")
    if outcome and outcome not in OUTCOMES:
        raise Invalid("That is no outcome.", code="invalid_outcome", hint=f"One of: {', '.join(OUTCOMES)}.")
    page = await call.services.deliveries.list(
        outcome=outcome, limit=whole_number(query.get("limit", "50"), "limit", 1, MAX_PAGE), after=query.get("after")
    )
    return reply({"deliveries": [_view(delivery) for delivery in page.deliveries], "next": page.cursor})


def _view(delivery: Delivery) -> dict[str, Any]:
    return {
        "source": delivery.source,
        "id": delivery.id,
        "event": delivery.event,
        "action": delivery.action or None,
        "repository": delivery.repository or None,
        "subject": delivery.subject or None,
        "sender": delivery.sender or None,
        "outcome": delivery.outcome,
        "reason": delivery.reason,
        "run_id": delivery.run_id or None,
        "received_at": iso(delivery.received_at),
    }
