"""The live run under load: events in, events out, and nothing lost on the way – on the real function, one worker."""

import asyncio
import os
import re
import secrets
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import httpx

from infra.core import run as rules
from infra.core.access import Permission, new_api_key
from infra.core.clock import HOUR, Instant
from infra.core.ids import new_run_id
from infra.core.redaction import Redactor
from infra.core.run import Limits, Origin, Run, State
from infra.core.timeline import Event, EventType
from infra.local.documents import SqliteDocuments
from infra.local.secrets import FileSecrets
from infra.platform_secrets import RUN_TOKEN_KEY
from infra.records.indexes import INDEXES
from infra.records.keys import ApiKeys
from infra.records.runs import Runs
from infra.records.timelines import Timelines
from infra.run_token import mint
from infra.system_clock import system_clock
from infra.wire import EventBatch, WireEvent
from runner.gateway import Gateway
from runner.stream import Stream
from runner.upload import upload
from tests.bench.programs import OURS, function, resident_mib
from tests.bench.report import Figure, Report, Table

CLIENTS = 200
EVENTS = 5_000
RECONNECTS = 5
IDLE = 1_000
PACE_SECONDS = 0.005
BATCH = 250
PAGES = 30
MILLION = 1_000_000
BIG_BYTES = 100 * 2**20

_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)


def run():
    report = Report(
        title="live",
        compares=(
            f"One run on the real function with the embedded store: its output through the runner's own stream to {CLIENTS}\n"
            f"readers of server-sent events ({EVENTS:,} events, one each {PACE_SECONDS * 1000:.0f} ms); times from the agent's output to the\n"
            "reader's socket, all on this machine."
        ),
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        asyncio.run(_measure(report, Path(name)))
    return report


class Bench:
    """A function with an empty store, a key, and runs that are claimed already."""

    def __init__(self, folder, program, http, key_of_tokens):
        self.folder = folder
        self.program = program
        self.http = http
        self.key_of_tokens = key_of_tokens

    async def run(self):
        """A run that works, as its claim would have left it."""
        now = system_clock()
        run = Run(
            id=new_run_id(now, os.urandom),
            owner="acme",
            repo="shop",
            installation_id=1,
            ref="main",
            base_sha="0" * 40,
            title="bench",
            task="bench",
            action="create-pr",
            origin=Origin(kind="bench", actor="bench"),
            limits=Limits(budget_micros=1, wall_seconds=3600, idle_seconds=60, max_turns=1),
            model="none",
            state=State.QUEUED,
            created_at=now,
            updated_at=now,
            launched_at=now,
            wake_at=now,
        )
        run = rules.claim(run, holder="bench", now=now, lease_ms=HOUR)
        async with self.store() as store:
            await store.commit(Runs.creation(run))
        return run

    @asynccontextmanager
    async def store(self):
        store = SqliteDocuments.open(self.folder / "data" / "state.db", system_clock, indexes=INDEXES)
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def gateway(self, run):
        async with Gateway(
            url=self.program.url,
            run_id=run.id,
            token=mint(self.key_of_tokens, run),
            clock=system_clock,
            entropy=os.urandom,
        ) as gateway:
            yield gateway

    async def connect(self, run, after=0, *, small=False):
        """A socket that follows the run; ``small``: with buffers that fill at once."""
        limit = 1024 if small else 2**20
        reading, writing = await asyncio.open_connection("127.0.0.1", self.program.port, limit=limit)
        head = (
            f"GET /api/runs/{run.id}/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n"
            f"last-event-id: {after}\r\nauthorization: {self.http.headers['authorization']}\r\n\r\n"
        )
        writing.write(head.encode())
        return reading, writing


@asynccontextmanager
async def _bench(folder):
    data = folder / "data"
    key_of_tokens = secrets.token_hex(32).encode()
    await FileSecrets(data / "secrets", entropy=os.urandom).put(RUN_TOKEN_KEY, key_of_tokens)
    text, record = new_api_key(name="bench", permission=Permission.ADMIN, now=system_clock(), entropy=os.urandom)
    store = SqliteDocuments.open(data / "state.db", system_clock, indexes=INDEXES)
    await ApiKeys(store).add(record)
    await store.close()
    settings = {"DATA_DIR": str(data), "CLAUDE_CLOUD_RUN_URL": "http://127.0.0.1:9", "GITHUB_APP_ID": "1"}
    with function(OURS, folder / "dispatcher.log", **settings) as program:
        await asyncio.to_thread(program.first_answer, "GET", "/health")
        headers = {"authorization": f"Bearer {text}"}
        async with httpx.AsyncClient(base_url=program.url, headers=headers, timeout=60, trust_env=False) as http:
            yield Bench(folder, program, http, key_of_tokens)


async def _measure(report, folder):
    async with _bench(folder) as bench:
        await _ingest(report, bench)
        await _latencies(report, bench)
        await _reconnects(report, bench)
        await _idle(report, bench)
        await _page(report, bench)
        await _big(report, bench)


async def _ingest(report, bench):
    run = await bench.run()
    total = 20_000
    async with bench.gateway(run) as gateway:
        started = time.perf_counter()
        for first in range(1, total, BATCH):
            events = [
                WireEvent(sequence=n, type=EventType.STDOUT, at=Instant(n), data={"text": f"line {n} of the output\n"})
                for n in range(first, first + BATCH)
            ]
            await gateway.send_events(EventBatch(run_id=run.id, fence=run.fence, events=events))
        rate = total / (time.perf_counter() - started)
    report.figures.append(Figure(name=f"ingest, batches of {BATCH}", value=rate, unit=" events/s", target="≥ 5,000"))


async def _latencies(report, bench):
    calm, missing = await _watched(bench, frozen=False)
    report.problems += missing
    held, missing = await _watched(bench, frozen=True)
    report.problems += missing
    table = Table(columns=("output to reader", "p50 ms", "p99 ms", "max ms"), rows=[])
    for name, times in (("all read", calm), ("one of them frozen", held)):
        table.rows.append((name, *(f"{value:.0f}" for value in (_at(times, 0.5), _at(times, 0.99), times[-1]))))
    report.tables.append(table)
    report.figures += [
        Figure(name=f"output to {CLIENTS} readers, p50", value=_at(calm, 0.5), unit=" ms", target="≤ 150 ms"),
        Figure(name=f"output to {CLIENTS} readers, p99", value=_at(calm, 0.99), unit=" ms", target="≤ 500 ms"),
        Figure(
            name="p99 with one frozen reader ÷ without",
            value=_at(held, 0.99) / _at(calm, 0.99),
            target="≤ 1.10",
        ),
    ]


def _at(times, share):
    return times[min(len(times) - 1, int(len(times) * share))]


async def _watched(bench, *, frozen):
    """Sorted milliseconds from output to reader over all events and readers, and what went missing."""
    run = await bench.run()
    said = {}
    stuck = await bench.connect(run, small=True) if frozen else None
    readers = [asyncio.create_task(_read(*await bench.connect(run), EVENTS)) for _ in range(CLIENTS)]
    text = "x" * 200
    async with bench.gateway(run) as gateway:
        stream = Stream(
            gateway=gateway, run_id=run.id, fence=run.fence, sequence=1, redactor=Redactor(), clock=system_clock
        )
        stream.start()
        for number in range(1, EVENTS + 1):
            said[number] = time.perf_counter()
            await stream.emit(EventType.STDOUT, {"text": text})
            await asyncio.sleep(max(0.0, PACE_SECONDS - (time.perf_counter() - said[number])))
        await stream.close()
        seen = await asyncio.gather(*readers)
    if stuck:
        stuck[1].close()
    problems = [f"a reader saw {len(ids)} events of {EVENTS}" for ids, _ in seen if ids != list(range(1, EVENTS + 1))]
    times = sorted((moment - said[n]) * 1000 for ids, at in seen for n, moment in zip(ids, at, strict=True))
    return times, problems


async def _read(reading, writing, last):
    """The ids that came and when, until ``last`` was among them."""
    ids, at, rest = [], [], b""
    while not ids or ids[-1] < last:
        piece = await reading.read(2**18)
        if not piece:
            break
        moment = time.perf_counter()
        *lines, rest = (rest + piece).rpartition(b"\n")
        for found in _ID.findall(b"".join(lines)):
            ids.append(int(found))
            at.append(moment)
    writing.close()
    return ids, at


async def _reconnects(report, bench):
    run = await bench.run()

    async def follow(number):
        seen = []
        for part in range(1, RECONNECTS + 2):
            if seen and seen[-1] >= EVENTS:
                break
            until = EVENTS if part > RECONNECTS else EVENTS * part // (RECONNECTS + 1) - number
            ids, _ = await _read(*await bench.connect(run, seen[-1] if seen else 0), until)
            seen += ids
        return seen

    async def write():
        async with bench.gateway(run) as gateway:
            for first in range(1, EVENTS, BATCH // 5):
                numbers = range(first, first + BATCH // 5)
                events = [
                    WireEvent(sequence=n, type=EventType.STDOUT, at=Instant(n), data={"text": "x"}) for n in numbers
                ]
                await gateway.send_events(EventBatch(run_id=run.id, fence=run.fence, events=events))

    writing = asyncio.create_task(write())
    found = await asyncio.gather(*(follow(number) for number in range(CLIENTS)))
    await writing
    expected = list(range(1, EVENTS + 1))
    wrong = sum(ids != expected for ids in found)
    if wrong:
        report.problems.append(f"{wrong} of {CLIENTS} readers missed or repeated events over {RECONNECTS} reconnects")
    report.figures.append(
        Figure(
            name=f"{CLIENTS} readers × {RECONNECTS} reconnects, readers with gaps or repeats",
            value=wrong,
            unit=" ",
            target="0",
        )
    )


async def _idle(report, bench):
    run = await bench.run()
    pid = _worker(bench.program.process.pid)
    before = resident_mib(pid)
    sockets = [await bench.connect(run) for _ in range(IDLE)]
    for reading, _ in sockets:
        await reading.readuntil(b"\r\n\r\n")
    used = _cpu(pid)
    await asyncio.sleep(10)
    busy = (_cpu(pid) - used) / 10
    async with bench.gateway(run) as gateway:
        event = WireEvent(sequence=1, type=EventType.INFO, at=Instant(1), data={"message": "hello"})
        await gateway.send_events(EventBatch(run_id=run.id, fence=run.fence, events=[event]))
    reached = await asyncio.gather(*(_read(reading, writing, 1) for reading, writing in sockets))
    got = sum(ids == [1] for ids, _ in reached)
    if got != IDLE:
        report.problems.append(f"{got} of {IDLE} idle viewers got the event")
    report.figures += [
        Figure(name=f"{IDLE:,} idle viewers: reached by an event", value=got, unit=" ", target=f"{IDLE}"),
        Figure(
            name=f"{IDLE:,} idle viewers: memory each", value=(resident_mib(pid) - before) / IDLE * 1024, unit=" KiB"
        ),
        Figure(name=f"{IDLE:,} idle viewers: processor", value=busy * 100, unit=" %"),
    ]


async def _page(report, bench):
    run = await bench.run()
    async with bench.store() as store:
        timelines = Timelines(store)
        now = system_clock()
        for first in range(1, MILLION, 500):
            events = [
                Event(sequence=n, type=EventType.STDOUT, at=now, data={"text": f"line {n} of the output\n"})
                for n in range(first, first + 500)
            ]
            await timelines.append(run.id, events, now)
    times = []
    for number in range(PAGES):
        after = (number * 333_331) % (MILLION - 1000)
        started = time.perf_counter()
        answer = await bench.http.get(f"/api/runs/{run.id}/events?after={after}&limit=500")
        times.append((time.perf_counter() - started) * 1000)
        page = answer.json()
        if [event["sequence"] for event in page["events"]] != list(range(after + 1, after + 501)):
            report.problems.append(f"the page after {after} is wrong")
    report.figures.append(
        Figure(name="page of 500 of a million events", value=median(times), unit=" ms", target="≤ 50 ms")
    )


async def _big(report, bench):
    """100 MB as events, and 100 MB in a single line as an artifact; by how much the function grows meanwhile."""
    run = await bench.run()
    pid = _worker(bench.program.process.pid)
    before, most = resident_mib(pid), 0.0
    text = "x" * 60_000
    path = bench.folder / "line.log"
    path.write_bytes(b"y" * BIG_BYTES)
    async with bench.gateway(run) as gateway:
        number = 1
        while number * len(text) < BIG_BYTES:
            events = [
                WireEvent(sequence=n, type=EventType.STDOUT, at=Instant(n), data={"text": text})
                for n in range(number, number + 3)
            ]
            await gateway.send_events(EventBatch(run_id=run.id, fence=run.fence, events=events))
            number += 3
            most = max(most, resident_mib(pid))
        log = most - before
        sent = asyncio.create_task(upload(gateway, path, name="claude.log", fence=run.fence))
        while not sent.done():
            await asyncio.sleep(0.05)
            most = max(most, resident_mib(pid))
        if (await sent).size != BIG_BYTES:
            report.problems.append("the line of 100 MB is not whole")
    reading, writing = await bench.connect(run)
    ids, _ = await _read(reading, writing, number - 1)
    most = max(most, resident_mib(pid))
    if ids != list(range(1, number)):
        report.problems.append("the log of 100 MB did not come back whole")
    report.figures += [
        Figure(name="100 MB log as events: the function grows by", value=log, unit=" MiB", target="bounded"),
        Figure(name="with a line of 100 MB, and read back", value=most - before, unit=" MiB", target="bounded"),
    ]


def _worker(pid):
    """gunicorn's one worker: the child that serves."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return int(children[0]) if children else pid


def _cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
