"""``GET /api/runs/{id}/events``: one log, read as JSON pages or followed as server-sent events.

A reader that comes back with ``Last-Event-ID`` gets exactly what it has not seen.
"""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.api.views import event_view
from dispatcher.call import Call, reply, whole_number
from dispatcher.event_stream import EventStream
from infra.core.ids import RunId

PAGE = 500
_MAX_SEQUENCE = 10**11


async def run_events(call: Call) -> Response:
    """The timeline: JSON pages, or server-sent events for ``Accept: text/event-stream``."""
    run_id = call.path_run_id()
    await call.services.runs.get(run_id)
    after = whole_number(_cursor(call), "after", 0, _MAX_SEQUENCE)
    if "text/event-stream" in call.request.headers.get("accept", ""):
        return EventStream(call.services.tails.follow(run_id, after), run_id=run_id)
    return await _page(call, run_id, after)


async def _page(call: Call, run_id: RunId, after: int) -> Response:
    limit = call.number("limit", PAGE, 1, PAGE)
    stretch = await call.services.timelines.read(run_id, after=after, limit=limit)
    events = stretch.events[:limit]
    gap = {"first": stretch.gap.first, "last": stretch.gap.last} if stretch.gap else None
    cursor = events[-1].sequence if events else after
    return reply({"events": [event_view(event) for event in events], "after": cursor, "gap": gap})


def _cursor(call: Call) -> str:
    return call.request.headers.get("last-event-id") or call.request.query_params.get("after", "0")
