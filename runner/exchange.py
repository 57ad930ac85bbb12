"""One request to the model, from its answer's first byte to its line in the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.price import Tokens, canonical_model, cost_micros
from runner.metering import Meter, StreamMeter, meter_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request to the model. ``counted``: ``full`` (final figures), ``partial`` (cut: prompt as told, output estimated
    from what was seen), ``reserved`` (nothing was told, the reservation is charged) or ``none`` (an error, free).
    ``price_basis``: ``list``, or ``unknown`` for a model without a listed price. ``request_id`` is the upstream's."""

    at: Instant
    model: str
    status: int
    request_id: str
    tokens: Tokens
    micros: int
    price_basis: str
    counted: str


class Exchange:
    """What is known about one request while its answer comes."""

    def __init__(self, *, model: str) -> None:
        self.model = model
        self.status = 0
        self.request_id = ""
        self.meter: Meter | None = None
        self.settled = False

    def answered(self, *, status: int, content_type: str, request_id: str) -> None:
        self.status = status
        self.request_id = request_id[:200]
        if status == 200:
            self.meter = meter_for(content_type)

    def feed(self, chunk: bytes) -> None:
        if self.meter is not None:
            self.meter.feed(chunk)

    def cost(self) -> tuple[int, str]:
        """By the model that answered, which may be a dated form of the one asked, or another."""
        if self.meter is None:
            return 0, "list"
        return cost_micros(self.meter.model or self.model, self.meter.tokens)

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
            at=at,
            model=canonical_model((meter.model if meter else "") or self.model),
            status=self.status,
            request_id=self.request_id,
            tokens=meter.tokens if meter else Tokens(),
            micros=reserved if counted == "reserved" else micros,
            price_basis=basis,
            counted=counted,
        )
