"""From nothing to an answer: how much later than an empty function does the control plane answer its first webhook?"""

import tempfile
import time
from pathlib import Path
from statistics import median

from tests.bench.door import dispatcher
from tests.bench.programs import EMPTY, function
from tests.bench.report import Figure, Report, Table
from tests.bench.webhooks import Webhooks

ROUNDS = 5


def run():
    report = Report(
        title="start",
        compares=(
            "Start of the process to the answer of a first signed webhook that starts a run (state exists already),\n"
            f"÷ start to the first answer of an empty function on the same framework; {ROUNDS} rounds in turn, medians."
        ),
    )
    bare, ours = [], []
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        folder = Path(name)
        webhooks = Webhooks(folder)
        for _ in range(ROUNDS):
            with function(EMPTY, folder / "empty.log") as program:
                bare.append(_first(program, {}, b"", 200, report))
            with dispatcher(folder) as program:
                ours.append(_first(program, *webhooks.one(), 202, report))
    report.tables.append(
        Table(
            columns=("", "median ms", "fastest", "slowest"),
            rows=[_row("empty function", bare), _row("first webhook", ours)],
        )
    )
    report.figures.append(Figure(name="start to first webhook ÷ empty function", value=median(ours) / median(bare)))
    return report


def _first(program, headers, body, expected, report):
    """Milliseconds since the process was started."""
    status, said = program.first_answer("POST", "/webhook/github", headers, body)
    if status != expected:
        report.problems.append(f"the first answer was {status}: {said[:300]}")
    return (time.perf_counter() - program.started) * 1000


def _row(name, times):
    return (name, *(f"{value:,.0f}" for value in (median(times), min(times), max(times))))
