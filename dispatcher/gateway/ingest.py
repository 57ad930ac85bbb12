"""``POST /api/ingest/event``: what a runner says while it works becomes the run's timeline."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from dispatcher.call import MIB, Call, reply
from dispatcher.engine.nudge import nudge_soon
from dispatcher.gateway.lease import run_of
from infra.core.checklist import newest_checklist
from infra.core.errors import Forbidden, Invalid
from infra.core.run import check_fence
from infra.core.timeline import Event, EventType
from infra.wire import EventPost, Ingested, SentEvent

MAX_BATCH_BYTES = MIB
"""A batch becomes one stored chunk, so it must fit a document."""

_TYPES = {kind.value: kind for kind in EventType}


async def ingest_events(call: Call) -> Response:
    """``POST /api/ingest/event``: one event or a batch under the caller's lease; sent twice, stored once."""
    services, run_id = call.services, run_of(call)
    post = await call.decode(EventPost, MAX_BATCH_BYTES)
    if post.run_id != run_id:
        raise Forbidden("The token belongs to another run.", code="foreign_run")
    events = [_event(sent) for sent in _sent(post)]
    run = await services.runs.get(run_id)
    check_fence(run, post.fence)
    following = await services.timelines.append(run_id, events, services.clock())
    services.bell.ring(run_id)
    if run.origin.issue and (checklist := newest_checklist(events)) is not None:
        await services.telling.checklists.put(run_id, checklist)
        await nudge_soon(run, services)
    return reply(Ingested(next_sequence=following))


def _sent(post: EventPost) -> Sequence[SentEvent]:
    if (post.event is None) == (post.events is None):
        raise Invalid(
            "A post has either event or events.", code="invalid_body", hint="One event as event, several as events."
        )
    return post.events if post.events is not None else [post.event] if post.event is not None else []


def _event(sent: SentEvent) -> Event:
    kind = _TYPES.get(sent.type)
    if kind is None:
        raise Invalid(
            f"{sent.type[:40]!r} is not an event type.",
            code="unknown_event_type",
            hint=f"One of: {', '.join(_TYPES)}.",
        )
    return Event(sequence=sent.sequence, type=kind, at=sent.at, data=sent.data)
