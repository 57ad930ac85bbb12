"""One request to the model, from its answer's first byte to its line in the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.price import Tokens, canonical_model, cost_micros
from runner.metering import Meter, StreamMeter, meter_for
from runner.recorder import Ended, Take

_MOST_WORDS = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request to the model. ``number`` counts requests as they came, from 1, and stands for one request once.

    ``counted``: ``full`` (final figures), ``partial`` (cut: prompt as told, output estimated from what was seen),
    ``reserved`` (nothing was told, the reservation is charged) or ``none`` (an error, free). ``reserved``: what was set
    aside before it was sent. ``price_basis``: ``list``, or ``unknown`` for a model without a listed price. ``request_id`` is
    the upstream's. ``ended``: how the answer ended.
    """

    number: int
    at: Instant
    model: str
    status: int
    request_id: str
    tokens: Tokens
    micros: int
    reserved: int
    price_basis: str
    counted: str
    ended: Ended


class Exchange:
    """What is known about one request while its answer comes. ``take``: where it is recorded, if it is.

    ``surcharge_percent``: what the place where the model runs adds to the list price.
    """

    def __init__(self, *, number: int, model: str, take: Take | None = None, surcharge_percent: int = 0) -> None:
        self.number = number
        self.model = model
        self.status = 0
        self.request_id = ""
        self.meter: Meter | None = None
        self.settled = False
        self.ended = Ended.LEFT
        self.words = b""
        self._take = take
        self._surcharge = surcharge_percent

    def answered(self, *, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        named = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
        self.status = status
        self.request_id = named.get("request-id", "")[:200]
        if status == 200:
            self.meter = meter_for(named.get("content-type", ""))
        if self._take is not None:
            self._take.answered(status, named)

    def feed(self, chunk: bytes) -> None:
        if self.meter is not None:
            self.meter.feed(chunk)
        elif len(self.words) < _MOST_WORDS:
            self.words += chunk[: _MOST_WORDS - len(self.words)]
        if self._take is not None:
            self._take.heard(chunk)

    def end(self, how: Ended) -> None:
        """How the answer ended; until this is called, the agent left before its end."""
        self.ended = how
        if self._take is not None:
            self._take.ended = how

    def cost(self) -> tuple[int, str]:
        """By the model that answered, which may be a dated form of the one asked, or another."""
        if self.meter is None:
            return 0, "list"
        micros, basis = cost_micros(self.meter.model or self.model, self.meter.tokens)
        return with_surcharge(micros, self._surcharge), basis

    @property
    def inside_event(self) -> bool:
        """Whether the stream stands in the middle of an event."""
        return isinstance(self.meter, StreamMeter) and not self.meter.at_event_end

    def entry(self, at: Instant, *, reserved: int) -> Entry:
        meter = self.meter
        micros, basis = self.cost()
        counted = "none"
        if meter is not None:
            counted = "full" if meter.complete else "partial" if meter.seen else "reserved"
        return Entry(
            number=self.number,
            at=at,
            model=canonical_model((meter.model if meter else "") or self.model),
            status=self.status,
            request_id=self.request_id,
            tokens=meter.tokens if meter else Tokens(),
            micros=reserved if counted == "reserved" else micros,
            reserved=reserved,
            price_basis=basis,
            counted=counted,
            ended=self.ended,
        )


def with_surcharge(micros: int, percent: int) -> int:
    """Rounded up, as prices are."""
    return -(-micros * (100 + percent) // 100)
