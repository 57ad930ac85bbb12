"""The GitHub door under load: how many signed webhooks a second become stored runs, and is every one of them there."""

import asyncio
import os
import secrets
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from infra.local.secrets import FileSecrets
from infra.platform_secrets import RUN_TOKEN_KEY, WEBHOOK_SECRET
from tests.bench.programs import EMPTY, OURS, function
from tests.bench.report import Figure, Report, Table, paired_ratio
from tests.bench.webhooks import BODY_BYTES, CONNECTIONS, SECRET, Webhooks, missing_program

ROUNDS = 4
REQUESTS = 4_000
WARM_UP = 500


def run():
    report = Report(
        title="door",
        compares=(
            f"Signed issues webhooks of {BODY_BYTES // 1024} KB over {CONNECTIONS} connections, through signature, decision, SQLite and\n"
            "the local queue (nobody takes its tasks), ÷ the same requests to an empty function on the same framework,\n"
            f"one worker each; {ROUNDS} rounds in turn, medians; the ratio is the median of the ratios of the rounds."
        ),
        skipped=missing_program(),
    )
    if not report.skipped:
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
            _measure(report, Path(name))
    return report


@contextmanager
def dispatcher(folder):
    """The control plane alone, with its state in ``folder/data``."""
    data = folder / "data"
    asyncio.run(_store_secrets(data))
    settings = {"DATA_DIR": str(data), "CLAUDE_CLOUD_RUN_URL": "http://127.0.0.1:9", "GITHUB_APP_ID": "1"}
    with function(OURS, folder / "dispatcher.log", **settings) as running:
        yield running


async def _store_secrets(data):
    store = FileSecrets(data / "secrets", entropy=os.urandom)
    await store.put(WEBHOOK_SECRET, SECRET.encode())
    await store.put(RUN_TOKEN_KEY, secrets.token_hex(32).encode())


def _measure(report, folder):
    webhooks = Webhooks(folder)
    with dispatcher(folder) as ours, function(EMPTY, folder / "empty.log") as theirs:
        ours.first_answer("GET", "/health")
        theirs.first_answer("GET", "/")
        for program in (theirs, ours):
            webhooks.send(program.url, WARM_UP)
        table = Table(columns=("", "answers/s", "p50 ms", "p99 ms", "÷ empty"), rows=[])
        report.tables.append(table)
        for name, labelled, status in (("starts a run", True, "202"), ("ignored", False, "200")):
            before = stored(folder / "data")
            bare, mine = _rounds(webhooks, theirs, ours, labelled=labelled)
            ratio = paired_ratio([load.per_second for load in mine], [load.per_second for load in bare])
            p99 = median(load.p99_ms for load in mine)
            table.rows += [_row("empty function", bare, ""), _row(name, mine, f"{ratio:.2f}")]
            after = stored(folder / "data")
            report.problems += _lost(name, mine, status, {what: after[what] - before[what] for what in after})
            report.figures += [
                Figure(name=f"door, {name} ÷ empty function", value=ratio, target="≥ 0.5" if labelled else ""),
                Figure(name=f"door, {name}, p99", value=p99, unit=" ms", target="≤ 15 ms" if labelled else ""),
            ]


def _rounds(webhooks, theirs, ours, *, labelled):
    bare, mine = [], []
    for number in range(ROUNDS):
        action = ("opened", "labeled")[number % 2]
        bare.append(webhooks.send(theirs.url, REQUESTS, action=action, labelled=labelled))
        mine.append(webhooks.send(ours.url, REQUESTS, action=action, labelled=labelled))
    return bare, mine


def _row(name, loads, ratio):
    return (
        name,
        f"{median(load.per_second for load in loads):,.0f}",
        f"{median(load.p50_ms for load in loads):.1f}",
        f"{median(load.p99_ms for load in loads):.1f}",
        ratio,
    )


def stored(data):
    """What is on the disk: runs, deliveries (a run's has two records, an ignored one's has one) and tasks."""
    counts = {}
    for what, file, query in (
        ("runs", "state.db", "SELECT count(*) FROM documents WHERE collection = 'runs'"),
        ("deliveries", "state.db", "SELECT count(*) FROM documents WHERE collection = 'deliveries'"),
        ("tasks", "queue.db", "SELECT count(*) FROM tasks"),
    ):
        with closing(sqlite3.connect(f"file:{data / file}?mode=ro", uri=True)) as connection:
            (counts[what],) = connection.execute(query).fetchone()
    return counts


def _lost(name, loads, status, new):
    """What was answered and is not there, or the other way round."""
    problems = [problem for load in loads for problem in load.problems]
    answers = sum(load.statuses.get(status, 0) for load in loads)
    sent = sum(load.sent for load in loads)
    if answers != sent:
        others = sorted({other for load in loads for other in load.statuses} - {status})
        problems.append(f"{name}: {sent} webhooks, {answers} answers {status}; others: {', '.join(others)}")
    runs = answers if status == "202" else 0
    expected = {"runs": runs, "deliveries": answers + runs, "tasks": 2 * runs}  # one to work, one to tell people
    problems += [
        f"{name}: {expected[what]} {what} were promised, {new[what]} are stored"
        for what in expected
        if new[what] != expected[what]
    ]
    return problems
