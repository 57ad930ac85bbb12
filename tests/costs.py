"""The figures of docs/costs.md, computed: by the product's own price of compute, and from the list of other prices here."""

from __future__ import annotations

from infra.core.clock import DAY, HOUR, MINUTE
from infra.core.compute_price import COMPUTE_PRICES_AS_OF, COMPUTE_RATES, compute_micros
from infra.core.execution import Host, ResourceClass, parse_classes
from infra.core.price import PRICES, PRICES_AS_OF, Tokens, cost_micros

OTHER_PRICES_AS_OF = "2026-11-20"
"""US dollars in us-central1; docs/costs.md says which were read and which are only generally known."""

IDLE_CPU, IDLE_MEMORY = 0.0000025, 0.0000025  # a warm instance without a request, per vCPU-second and GiB-second
FIRESTORE_WRITE, FIRESTORE_READ = 0.09 / 100_000, 0.03 / 100_000
TASK = 0.40 / 1_000_000
SECRET_VERSION, SCHEDULE, DNS_ZONE = 0.06, 0.10, 0.20  # a month
NAT_HOUR, NAT_GIB = 0.0014, 0.045  # an instance-hour, up to the price of 32; a GiB

MONTH_HOURS = 730
CLASSES = parse_classes("1x2,2x4,4x8,8x16")


def tables() -> str:
    return "\n".join(
        [
            f"Compute as of {COMPUTE_PRICES_AS_OF}, models as of {PRICES_AS_OF}, everything else as of {OTHER_PRICES_AS_OF}; US dollars, list prices, no free tier.",
            "",
            "### A run's compute",
            "",
            *_compute(),
            "",
            "### A run, whole",
            "",
            *_run(),
            "",
            "### A month without a run",
            "",
            *_month(),
            "",
        ]
    )


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.1 else f"{amount:.4f}"


def _compute() -> list[str]:
    def price(host: Host, size: ResourceClass, minutes: int) -> str:
        return f"{compute_micros(host, size, minutes * MINUTE) / 1e6:.3f}"

    rows = [
        f"| {size} | {' | '.join(price(Host.SERVICE, size, minutes) for minutes in (2, 10, 25))} | {' | '.join(price(Host.JOB, size, minutes) for minutes in (10, 30, 120))} |"
        for size in CLASSES
    ]
    rates = ", ".join(
        f"{host}: {rate.cpu / 1e9:.6f} for a vCPU-second and {rate.memory / 1e9:.7f} for a GiB-second".rstrip("0")
        for host, rate in COMPUTE_RATES.items()
    )
    return [
        "| vCPU x GiB | service, 2 min | 10 min | 25 min | job, 10 min | 30 min | 120 min |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Rates – {rates}.",
    ]


SHORT = Tokens(input=3_000, output=6_000, cache_read=250_000, cache_write_5m=30_000)
LONG = Tokens(input=20_000, output=60_000, cache_read=6_000_000, cache_write_5m=300_000)
"""Two runs as an example: a small fix in a dozen turns, and an afternoon's work in a hundred."""


def _run() -> list[str]:
    model = "claude-opus-5-5"
    assert model in PRICES
    rows = []
    for what, tokens, host, minutes in (
        ("a small fix", SHORT, Host.SERVICE, 5),
        ("a long piece of work", LONG, Host.JOB, 60),
    ):
        tokens_usd = cost_micros(model, tokens)[0] / 1e6
        compute_usd = compute_micros(host, ResourceClass(2, 4), minutes * MINUTE) / 1e6
        writes = minutes * 60 / 2 + 200  # a chunk of events every two seconds, and what else is recorded
        rest = (
            writes * FIRESTORE_WRITE + 2 * writes * FIRESTORE_READ + 10 * TASK + 0.2 * NAT_GIB + minutes / 60 * NAT_HOUR
        )
        whole = tokens_usd + compute_usd + rest
        rows.append(
            f"| {what}: {minutes} min on the {host}, {tokens.output:,} tokens out, {tokens.cache_read:,} from cache | {_usd(tokens_usd)} | {_usd(compute_usd)} | {_usd(rest)} | {_usd(whole)} | {tokens_usd / whole:.0%} |"
        )
    return [
        f"With {model} on 2x4; *rest* is Firestore, tasks and 0.2 GiB through NAT.",
        "",
        "| run | model | compute | rest | all | model's share |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _month() -> list[str]:
    seconds = MONTH_HOURS * HOUR / 1000
    sweeps = 30 * DAY / MINUTE
    lines = {
        "one warm dispatcher of 1 vCPU and 512 MiB (`dispatcher.min_instances = 1`; 0 saves this)": seconds
        * (IDLE_CPU + 0.5 * IDLE_MEMORY),
        "a sweep a minute: a tenth of a second of the dispatcher, two reads": sweeps
        * (0.1 * (24_000 + 0.5 * 2_500) / 1e9 + 2 * FIRESTORE_READ),
        "one schedule": SCHEDULE,
        "seven secrets with one version each": 7 * SECRET_VERSION,
        "one private DNS zone": DNS_ZONE,
    }
    return [
        "| what | a month |",
        "|---|---|",
        *(f"| {what} | {_usd(amount)} |" for what, amount in lines.items()),
        f"| all | {_usd(sum(lines.values()))} |",
    ]
