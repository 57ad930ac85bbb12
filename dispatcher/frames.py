"""Events as server-sent events. An event's sequence number is its id, so that a reader can say what it has seen.
https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dispatcher.api.views import event_view, run_view
from infra.core.run import Run
from infra.core.timeline import Event, Gap

FRAME_BYTES = 64 * 1024
"""Events are written together up to this size; a slow reader holds one such piece, and what the server buffers."""

_REMOVED = "Older events were removed."


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of the events ``first``–``last``."""

    first: int
    last: int
    data: bytes


def frames_of(events: Sequence[Event]) -> tuple[Frame, ...]:
    """Events that run on, as pieces of about ``FRAME_BYTES``."""
    frames: list[Frame] = []
    pieces: list[bytes] = []
    size, first = 0, 0
    for event in events:
        if not pieces:
            first = event.sequence
        pieces.append(_encoded(event))
        size += len(pieces[-1])
        if size >= FRAME_BYTES:
            frames.append(Frame(first, event.sequence, b"".join(pieces)))
            pieces, size = [], 0
    if pieces:
        frames.append(Frame(first, events[-1].sequence, b"".join(pieces)))
    return tuple(frames)


def gap_frame(gap: Gap) -> Frame:
    """Says what is missing; its id is the last missing number, so that it is said once."""
    data = msgspec.json.encode({"first": gap.first, "last": gap.last, "message": _REMOVED})
    return Frame(gap.first, gap.last, b"id: %d\nevent: gap\ndata: %s\n\n" % (gap.last, data))


def end_frame(run: Run, own_url: str) -> bytes:
    """The last of a stream: the finished run."""
    return b"event: end\ndata: " + msgspec.json.encode(run_view(run, own_url)) + b"\n\n"


def cut_frame(seconds: float) -> bytes:
    """The last for a reader that did not read; it may come back with the id of the last event that it got."""
    message = f"Nothing was read for {seconds:.0f} seconds. Connect again with Last-Event-ID to go on."
    return b"event: cut\ndata: " + msgspec.json.encode({"code": "slow_reader", "message": message}) + b"\n\n"


def _encoded(event: Event) -> bytes:
    data = msgspec.json.encode(event_view(event))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.type.encode(), data)
