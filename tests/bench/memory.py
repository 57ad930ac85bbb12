"""What each program of an installation weighs, at rest and while a run is under way."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

from tests.bench.installation import installation, one_run, programs
from tests.bench.programs import resident_mib
from tests.bench.report import Figure, Report, Table

SAMPLE_SECONDS = 0.05
ORDER = (
    "supervisor",
    "dispatcher (gunicorn's master)",
    "dispatcher",
    "runner",
    "forge",
    "model",
    "agent's sandbox",
    "agent's CLI",
)


def run():
    report = Report(
        title="memory",
        compares=(
            "Resident memory of each program of `pullwright up`, in MiB: just started, at most during a run, and after two\n"
            "runs. Pages that programs share count in each of them; commands that the agent runs are left out."
        ),
    )
    with installation() as up:
        fresh = weigh(up)
        most = {}
        for _ in range(2):
            most = _most(most, _during(up))
        rested = weigh(up)
    names = [name for name in ORDER if name in most]
    rows = [(name, *(_text(where, name) for where in (fresh, most, rested))) for name in names]
    totals = [sum(where.values()) for where in (fresh, most, rested)]
    report.tables.append(
        Table(
            columns=("MiB", "just started", "most in a run", "afterwards"),
            rows=[*rows, ("all", *(f"{total:.0f}" for total in totals))],
        )
    )
    report.figures += [
        Figure(name="memory of dispatcher, at rest", value=fresh["dispatcher"], unit=" MiB"),
        Figure(name="memory of runner, during a run", value=most["runner"], unit=" MiB"),
        Figure(name="memory of everything, during a run", value=totals[1], unit=" MiB"),
    ]
    return report


def weigh(up):
    weights = Counter()
    for pid, name in programs(up).items():
        weight = resident_mib(pid)
        # a command that the CLI is about to start is, for a moment, a copy of it
        weights[name] = max(weights[name], weight) if name == "agent's CLI" else weights[name] + weight
    return weights


def _during(up):
    """The most that each program weighed while one run lasted."""
    most = {}
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(one_run, up)
        while not running.done():
            most = _most(most, weigh(up))
            wait([running], SAMPLE_SECONDS)
    running.result()
    return most


def _most(one, other):
    return {name: max(one.get(name, 0.0), other.get(name, 0.0)) for name in one | other}


def _text(where, name):
    return f"{where[name]:.0f}" if name in where else ""
