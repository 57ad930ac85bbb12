"""How fast the SQLite store commits, reads and finds work among many ended runs. ``python -m tests.bench.documents``"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from infra.core.clock import Instant
from infra.core.store import Create, Query, Replace, Where
from infra.local.documents import SqliteDocuments

SECONDS = 2.0
HISTORY = 100_000
INDEXES = {"runs": ("wake_at", "created_at", ("state", "created_at"))}


def run() -> list[dict[str, Any]]:
    """One row for each measurement: what, operations per second, milliseconds at the median and the 99th percentile."""
    return asyncio.run(_run())


async def _run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:  # a real disk, not a /tmp in memory
        store = SqliteDocuments.open(Path(folder) / "state.db", _now, indexes=INDEXES)
        rows = [await _commits(store, concurrent) for concurrent in (1, 16)]
        rows.append(await _reads(store))
        await _fill(store)
        rows += await _queries(store)
        await store.close()
    return rows


async def _commits(store: SqliteDocuments, concurrent: int) -> dict[str, Any]:
    numbers = iter(range(10_000_000))

    async def commit() -> None:
        key = f"{concurrent}-{next(numbers):08}"
        await store.commit(
            Create(f"runs/run-{key}", _body("queued", 5)),
            Create(f"deliveries/id-{key}", _body("accepted", None), Instant(10**12)),
            Create(f"deliveries/body-{key}", _body("accepted", None), Instant(10**12)),
        )

    return await _measure(f"commit of 3 creations of 1 KB, {concurrent} at once", commit, concurrent)


async def _reads(store: SqliteDocuments) -> dict[str, Any]:
    async def read() -> None:
        assert await store.get("runs/run-16-00000007")

    return await _measure("read of 1 KB", read, 1)


async def _fill(store: SqliteDocuments) -> None:
    for start in range(0, HISTORY, 500):
        await store.commit(*(Create(f"runs/old-{start + n:06}", _body("succeeded", None)) for n in range(500)))


async def _queries(store: SqliteDocuments) -> list[dict[str, Any]]:
    due = Query(where=(Where("wake_at", "<=", 5),), order_by="wake_at", limit=1)
    newest = Query(where=(Where("state", "==", "succeeded"),), order_by="created_at", descending=True, limit=50)
    unindexed = Query(where=(Where("prompt", "==", "none like this"),), limit=1)

    async def claim() -> None:
        (run_,) = (await store.query("runs", due)).documents
        await store.commit(Replace(run_.path, {**run_.data, "wake_at": 9}, run_.revision))

    return [
        await _measure(f"find a due run among {HISTORY:,} ended ones and claim it", claim, 1),
        await _measure(f"newest 50 of {HISTORY:,} by state", lambda: store.query("runs", newest), 1),
        await _measure(f"a field without an index, {HISTORY:,} documents", lambda: store.query("runs", unindexed), 1),
    ]


async def _measure(name: str, action: Callable[[], Awaitable[Any]], concurrent: int) -> dict[str, Any]:
    times: list[float] = []
    start = time.perf_counter()

    async def work() -> None:
        while (before := time.perf_counter()) < start + SECONDS:
            await action()
            times.append(time.perf_counter() - before)

    await asyncio.gather(*(work() for _ in range(concurrent)))
    elapsed = time.perf_counter() - start
    times.sort()
    return {
        "what": name,
        "per_second": round(len(times) / elapsed),
        "p50_ms": round(times[len(times) // 2] * 1000, 3),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 3),
    }


def _body(state: str, wake_at: int | None) -> dict[str, Any]:
    return {
        "state": state,
        "wake_at": wake_at,
        "created_at": _now(),
        "prompt": "x" * 700,
        "origin": {"kind": "github_issue", "actor": "octocat", "issue": 7, "delivery": "github:0123456789abcdef"},
        "limits": {"budget_micros": 5_000_000, "wall_seconds": 1500, "idle_seconds": 600, "max_turns": 150},
    }


def _now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def _line(row: dict[str, Any]) -> str:
    return f"{row['what']:55} {row['per_second']:>9,}/s   p50 {row['p50_ms']:>8.3f} ms   p99 {row['p99_ms']:>8.3f} ms\n"


if __name__ == "__main__":
    sys.stdout.writelines(map(_line, run()))
