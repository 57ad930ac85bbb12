"""The embedded store by itself (``documents.py``), as part of the whole."""

from tests.bench import documents
from tests.bench.report import Report, Table


def run():
    rows = [
        (row["what"], f"{row['per_second']:,}", f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}")
        for row in documents.run()
    ]
    return Report(
        title="store",
        compares="SQLite's documents by themselves, on the disk of this folder; compared with nothing.",
        tables=[Table(columns=("", "per second", "p50 ms", "p99 ms"), rows=rows)],
    )
