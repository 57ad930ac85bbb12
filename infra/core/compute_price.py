"""What a runner's time costs: a dated price list, and exact integer arithmetic over CPU and memory seconds.

Rates are billionths of a US dollar, so that 0.0000025 dollars for a GiB-second is a whole number; a bill is rounded up once, to
millionths. What is counted is the time in which a runner held the run: starting the container comes on top of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from infra.core.clock import Instant
from infra.core.execution import Host, ResourceClass, parse_classes

COMPUTE_PRICES_AS_OF = "2026-11-20"
"""The day of the list: https://cloud.google.com/run/pricing, tier 1 regions such as us-central1, without the free tier."""

BILLED_STEP = 100
"""Cloud Run bills in steps of 100 milliseconds, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRate:
    """Billionths of a dollar for one vCPU-second and one GiB-second."""

    cpu: int
    memory: int


COMPUTE_RATES: Mapping[Host, ComputeRate] = {
    # a service that is billed by request, and a job
    Host.SERVICE: ComputeRate(cpu=24_000, memory=2_500),
    Host.JOB: ComputeRate(cpu=18_000, memory=2_000),
}


def compute_micros(host: Host, size: ResourceClass, milliseconds: int) -> int:
    """What so much time on a runner of this size costs, in millionths of a dollar, rounded up."""
    rate = COMPUTE_RATES[host]
    steps = -(-max(milliseconds, 0) // BILLED_STEP)
    return -(-steps * BILLED_STEP * (size.cpu * rate.cpu + size.memory_gib * rate.memory) // 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The time that runners held a run, all attempts together, and what it cost. An estimate: list prices, no free tier.

    ``host`` and ``size`` are the present attempt's, the last one's when none is under way; both are empty where nobody
    is billed, such as on a laptop. ``since``: when the present attempt began, None between attempts.
    """

    milliseconds: int = 0
    micros: int = 0
    host: str = ""
    size: str = ""
    since: Instant | None = None

    def begun(self, host: str, size: str, now: Instant) -> Compute:
        """A new attempt; one that was still open was lost, and ends here."""
        return replace(self.until(now), host=host, size=size, since=now)

    def until(self, now: Instant) -> Compute:
        """With everything up to now counted and no attempt under way."""
        if self.since is None:
            return self
        passed = max(now - self.since, 0)
        return replace(
            self,
            milliseconds=self.milliseconds + passed,
            micros=self.micros + _price(self.host, self.size, passed),
            since=None,
        )


def _price(host: str, size: str, milliseconds: int) -> int:
    if not size or host not in set(Host):
        return 0
    (known,) = parse_classes(size)
    return compute_micros(Host(host), known, milliseconds)
