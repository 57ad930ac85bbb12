"""What the broker adds between the model and the agent: to the first byte, to each chunk of a stream; and how fast text is masked."""

import asyncio
import os
import random
import string
import time
from contextlib import asynccontextmanager
from statistics import median, quantiles

import httpx
from starlette.responses import StreamingResponse

from infra.core.clock import Instant
from infra.core.redaction import Redactor
from infra.wire import ModelCredentials
from runner.asked import Reader
from runner.broker import Broker
from runner.loopback import listen
from runner.recorder import Recorder
from tests.bench.report import Figure, Report, Table

CHUNKS, ROUNDS, PAUSE = 400, 5, 0.002
REQUEST = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "stream": True,
    "messages": [{"role": "user", "content": "x" * 60} for _ in range(700)],  # 60 kB, as Claude Code's are
}


def run():
    report = Report(
        title="broker",
        compares=(
            f"A stream of {CHUNKS} chunks, one each {PAUSE * 1000:.0f} ms, read through the broker and directly, in turn, {ROUNDS} times.\n"
            "A chunk's way: from the model's write to the agent's read, all in one process."
        ),
    )
    ways = asyncio.run(_measured())
    direct = ways["directly"]
    rows = [
        (
            name,
            *(
                f"{value:.2f}"
                for value in (median(first), median(chunks), _p99(chunks), _p99(chunks) - _p99(direct[1]))
            ),
        )
        for name, (first, chunks) in ways.items()
    ]
    report.tables.append(Table(columns=("", "first byte ms", "chunk p50 ms", "p99 ms", "p99 added ms"), rows=rows))
    added = _p99(ways["broker"][1]) - _p99(direct[1])
    report.figures.append(Figure(name="broker: added to a chunk, p99", value=added, unit=" ms", target="≤ 5 ms"))
    speeds = _masking()
    report.tables.append(
        Table(columns=("masking", "MB/s"), rows=[(name, f"{speed:.1f}") for name, speed in speeds.items()])
    )
    report.figures.append(
        Figure(name="masking, ordinary log", value=speeds["ordinary log"], unit=" MB/s", target="≥ 10 MB/s")
    )
    worst = min(speeds, key=speeds.__getitem__)
    report.figures.append(
        Figure(
            name=f"masking, worst of the hostile texts ({worst})", value=speeds[worst], unit=" MB/s", target="≥ 10 MB/s"
        )
    )
    return report


def _p99(values):
    return quantiles(values, n=100)[98]


async def _measured():
    """Milliseconds to the first byte and of each chunk's way, by way."""
    listener = await listen(_model)
    url = f"http://127.0.0.1:{listener.port}"
    ways = {}
    try:
        async with _broker(url) as plain, _broker(url, record=True) as recording:
            places = {
                "directly": (url, "k"),
                "broker": (plain.url, plain.token),
                "broker, recording": (recording.url, recording.token),
            }
            for number in range(ROUNDS + 1):  # the first one warms up
                for name, (place, key) in places.items():
                    first, chunks = await _stream(place, key)
                    if number:
                        heard = ways.setdefault(name, ([], []))
                        heard[0].append(first)
                        heard[1].extend(chunks)
    finally:
        await listener.close()
    return ways


async def _model(scope, receive, send):
    """Each chunk says when it was written."""

    async def parts():
        for _ in range(CHUNKS):
            yield f'data: {{"type": "ping", "at": {time.perf_counter_ns()}}}\n\n'.encode()
            await asyncio.sleep(PAUSE)

    while (await receive()).get("more_body"):
        pass
    await StreamingResponse(parts(), media_type="text/event-stream")(scope, receive, send)


@asynccontextmanager
async def _broker(url, *, record=False):
    def clock():
        return Instant(int(time.time() * 1000))

    credentials = ModelCredentials(mode="api_key", base_url=url, headers={"x-api-key": "k"}, allowed_models=[])
    recorder = Recorder(Reader({}), clock) if record else None
    async with Broker(
        credentials=credentials, budget_micros=10**12, clock=clock, entropy=os.urandom, recorder=recorder
    ) as broker:
        yield broker


async def _stream(url, key):
    started = time.perf_counter_ns()
    first, ways = 0.0, []
    async with (
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as http,
        http.stream("POST", f"{url}/v1/messages", json=REQUEST, headers={"x-api-key": key}) as answer,
    ):
        async for chunk in answer.aiter_bytes():
            now = time.perf_counter_ns()
            first = first or (now - started) / 1e6
            ways += [(now - int(part.split(b"}")[0])) / 1e6 for part in chunk.split(b'"at": ')[1:]]
    return first, ways


def _masking():
    """MB/s of processor time, by text."""
    chance = random.Random(7)
    values = ["".join(chance.choices(string.ascii_letters + string.digits, k=40)) for _ in range(20)]
    redactor = Redactor(values)
    redactor.text("warm up")
    return {name: _speed(redactor, text) for name, text in _texts(values).items()}


def _texts(values):
    lines = {
        "ordinary log": "2026-11-20T10:00:00Z INFO request served path=/api/runs status=200 duration=12ms\n",
        "names of secrets": "the token: invalid value here\n",
        "names with values": "password=x ",
        "names in a row": "password=",
        "beginnings of tokens": "sk-",
        "quotes left open": 'password: "a\\" ',
        "users in addresses": "http://user:pass@",
        "JSON of secrets": '{"token":"abcdefghij","password":"x","n":1},',
        "colours": "\x1b[31mred\x1b[0m ",
        "the secrets themselves": " ".join(values) + " ",
    }
    return {name: line * (1_000_000 // len(line)) for name, line in lines.items()}


def _speed(redactor, text):
    started = time.process_time()
    redactor.text(text)
    return len(text.encode()) / 1e6 / (time.process_time() - started)
