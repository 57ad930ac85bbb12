"""``GET /api/runs/{id}/events``: one log, read as JSON pages or followed as server-sent events.

An event's sequence number is its SSE id, so a reader that comes back with ``Last-Event-ID`` gets exactly what it has
not seen. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from dispatcher.api.views import event_view, run_view
from dispatcher.bell import wait
from dispatcher.call import Call, reply, whole_number
from dispatcher.services import Services
from infra.core.ids import RunId
from infra.core.timeline import Event

HEARTBEAT_SECONDS = 15.0
"""Proxies close silent streams; a comment line keeps them open."""

LOOK_AGAIN_SECONDS = 1.0
PAGE = 500
_MAX_SEQUENCE = 10**11


async def run_events(call: Call) -> Response:
    """The timeline: JSON pages, or server-sent events for ``Accept: text/event-stream``."""
    run_id = call.path_run_id()
    await call.services.runs.get(run_id)
    after = whole_number(_cursor(call), "after", 0, _MAX_SEQUENCE)
    if "text/event-stream" in call.request.headers.get("accept", ""):
        return StreamingResponse(
            _follow(run_id, after, call.services),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
    limit = whole_number(call.request.query_params.get("limit", str(PAGE)), "limit", 1, PAGE)
    events = await call.services.timelines.read(run_id, after=after, limit=limit)
    cursor = events[-1].sequence if events else after
    return reply({"events": [event_view(event) for event in events], "after": cursor})


def _cursor(call: Call) -> str:
    return call.request.headers.get("last-event-id") or call.request.query_params.get("after", "0")


async def _follow(run_id: RunId, after: int, services: Services) -> AsyncIterator[bytes]:
    """History, then the live tail; ends with an ``end`` event that holds the finished run."""
    silent = 0.0
    with services.bell.listen(run_id) as rung:
        while True:
            run = await services.runs.get(run_id)
            # read after the state: events that were stored before the end are never missed
            events = await services.timelines.read(run_id, after=after, limit=PAGE)
            if events:
                after, silent = events[-1].sequence, 0.0
                yield b"".join(_frame(event) for event in events)
            elif run.ended:
                end = msgspec.json.encode(run_view(run, services.settings.own_url))
                yield b"event: end\ndata: " + end + b"\n\n"
                return
            elif silent >= HEARTBEAT_SECONDS:
                silent = 0.0
                yield b": still here\n\n"
            if not events:
                await wait(rung, LOOK_AGAIN_SECONDS)
                silent += LOOK_AGAIN_SECONDS


def _frame(event: Event) -> bytes:
    data = msgspec.json.encode(event_view(event))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.type.encode(), data)
