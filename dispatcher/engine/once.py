"""A request that can be repeated: the same Idempotency-Key gives the run that it made the first time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dispatcher.services import Services
from infra.core.errors import AlreadyExists, Conflict
from infra.core.ids import parse_run_id
from infra.core.run import Run
from infra.core.store import Write
from infra.records.deliveries import Delivery

Locks = Callable[[Run], tuple[Write, ...]]
"""The writes that must be committed together with the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``lock``: the caller's key, empty when there is none; ``fingerprint``: what was asked; ``source``: through which door."""

    lock: str
    fingerprint: str
    source: str


async def once(request: Request, services: Services, make: Callable[[Locks], Awaitable[Run]]) -> Run:
    """The run that ``make`` stores together with its locks, or the one that this request made before.

    Raises ``Conflict`` (``idempotency_key_reused``) when the key stood for something else, and what ``make`` raises.
    """
    if not request.lock:
        return await make(lambda _: ())
    if before := await services.deliveries.find(request.lock):
        return await _same(before, request, services)

    def locks(run: Run) -> tuple[Write, ...]:
        delivery = Delivery(
            source=request.source,
            id=request.fingerprint,
            event=request.source,
            outcome="accepted",
            reason="",
            run_id=run.id,
            received_at=run.created_at,
        )
        return services.deliveries.creations(delivery, id_key=request.lock, body_key=None)

    try:
        return await make(locks)
    except AlreadyExists:
        first = await services.deliveries.find(request.lock)
        if first is None:
            raise
        return await _same(first, request, services)


async def _same(before: Delivery, request: Request, services: Services) -> Run:
    if before.id != request.fingerprint:
        raise Conflict(
            "This Idempotency-Key was used for a different request.",
            code="idempotency_key_reused",
            hint="Use a new key for a new request.",
        )
    return await services.runs.get(parse_run_id(before.run_id))
