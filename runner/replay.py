"""A recorded run, once more, without a model: the real agent on the same commit, the recording in the model's place.

A program: ``python -m runner.replay`` reads a ``ReplayOrder`` from its input and writes a ``ReplayReport``. Everything between is what a
run has – workspace, clone, sandbox, broker with the run's own budget – but for the network: an agent that is replayed reaches
nothing but the recording.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from infra.core.changes import Changes
from infra.core.errors import Invalid, PullwrightError
from infra.core.ids import RunId, new_run_id
from infra.core.outlets import OUTLETS
from infra.core.redaction import Redactor
from infra.core.timeline import EventType
from infra.logs import configure
from infra.replay import FirstDifference, Point, ReplayOrder, ReplayReport
from infra.settings import RunnerSettings, load
from infra.wire import ModelCredentials
from runner.agents.port import Inbox, Job, Result
from runner.answer_text import Moving
from runner.asked import IGNORED, Reader, asked_places
from runner.broker import Broker, BudgetNotice
from runner.cassette import UNCHANGED, Cassette, Spent, files_of, spent_of, unpack
from runner.clone import clone
from runner.collect import collect
from runner.git import parse_remote
from runner.loopback import listen
from runner.player import Player
from runner.sandbox import Door
from runner.wiring import Tools, agent_version, connect, keep_only_needed
from runner.workspace import Workspace, workspace

_UNREACHABLE, _PLAYED_AS = 0, 502
_MOST_FILES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to."""

    result: Result
    changes: Changes | None
    spent: tuple[Spent, ...]
    player: Player
    seconds: float


async def replay(order: ReplayOrder, tools: Tools) -> ReplayReport:
    """Raises ``Invalid`` for a cassette that cannot be read or was recorded by another program, and what a clone raises."""
    recorded = unpack(await asyncio.to_thread(Path(order.cassette).read_bytes))
    if not recorded.exchanges:
        raise Invalid(
            "The cassette holds no exchange with the model.",
            code="cassette_empty",
            hint="The run ended before its agent asked anything; there is nothing to replay.",
        )
    run_id = new_run_id(tools.clock(), tools.entropy)
    async with workspace(tools.work_dir, run_id) as place:
        header = recorded.header
        remote = parse_remote(order.git_url, order.token)
        await clone(tools.git, place, remote, base_sha=header.base_sha, branch=header.branch)
        return report(recorded, await _perform(recorded, order, tools, place, run_id))


async def _perform(recorded: Cassette, order: ReplayOrder, tools: Tools, place: Workspace, run_id: RunId) -> Replayed:
    header, started = recorded.header, time.monotonic()
    moving = Moving({path: place.names[name] for name, path in header.places.items() if name in place.names})
    player = Player(
        exchanges=recorded.exchanges,
        reader=Reader(asked_places(place.names)),
        rewriter=moving,
        real_time=order.real_time,
    )
    inbox = Inbox()

    async def notify(notice: BudgetNotice) -> None:
        inbox.put(notice.text)

    async with AsyncExitStack() as services:
        listener = await listen(player)
        services.push_async_callback(listener.close)
        credentials = ModelCredentials(
            mode="api_key",
            base_url=f"http://127.0.0.1:{listener.port}",
            headers={"x-api-key": "recorded"},
            allowed_models=list(header.allowed_models),
            outlets=OUTLETS,  # the recording reaches nowhere
            surcharge_percent=header.surcharge_percent,
        )
        broker = await services.enter_async_context(
            Broker(
                credentials=credentials,
                budget_micros=header.limits.budget_micros,
                clock=tools.clock,
                entropy=tools.entropy,
                notify=notify,
                socket=place.root / "broker.sock",
            )
        )
        job = Job(
            id=str(run_id),
            prompt=moving.pieces([header.prompt])[0],
            tree=place.tree,
            home=place.home,
            tmp=place.tmp,
            model=header.model,
            limits=header.limits,
            model_access=broker,
            doors=(Door(port=broker.port, socket=broker.socket),),
            inbox=inbox,
        )
        result = await tools.agent.run(job, _unheard)
    changes = await collect(tools.git, place, base_sha=header.base_sha)
    return Replayed(
        result=result,
        changes=changes,
        spent=spent_of(broker.ledger),
        player=player,
        seconds=time.monotonic() - started,
    )


async def _unheard(_kind: EventType, _data: Mapping[str, Any]) -> None:
    return


def report(recorded: Cassette, replayed: Replayed) -> ReplayReport:
    ending, player = recorded.ending, replayed.player
    tree = replayed.changes.tree_sha if replayed.changes else UNCHANGED
    points = [
        Point(
            name="ending",
            same=ending.failure == (replayed.result.failure or ""),
            recorded=ending.failure or "the agent finished",
            replayed=replayed.result.failure or "the agent finished",
        ),
        Point(
            name="ledger",
            same=_accounts(ending.spent) == _accounts(replayed.spent),
            recorded=_sum_words(ending.spent),
            replayed=_sum_words(replayed.spent),
        ),
    ]
    if ending.tree:
        points.append(Point(name="files", same=tree == ending.tree, recorded=ending.tree, replayed=tree))
    first = player.differences[0] if player.differences else None
    return ReplayReport(
        points=tuple(points),
        files=_differing_files(recorded, replayed.changes) if ending.tree and tree != ending.tree else (),
        exchanges=len(recorded.exchanges),
        alike=player.alike,
        differing=len(player.differences),
        first_difference=FirstDifference(number=first.number, recorded=first.recorded, asked=first.asked)
        if first
        else None,
        ignored=IGNORED,
        notes=tuple(_notes(recorded, replayed)),
        seconds=replayed.seconds,
    )


def _accounts(spent: Sequence[Spent]) -> Counter[Spent]:
    """Answers that ran at the same time may end in another order. A server that could not be reached is played as one that says so."""
    return Counter(
        msgspec.structs.replace(each, status=_PLAYED_AS) if each.status == _UNREACHABLE else each for each in spent
    )


def _sum_words(spent: Sequence[Spent]) -> str:
    tokens = sum(each.tokens.prompt + each.tokens.output for each in spent)
    return f"{len(spent)} requests, {tokens:,} tokens, ${sum(each.micros for each in spent) / 1_000_000:.6f}"


def _differing_files(recorded: Cassette, changes: Changes | None) -> tuple[str, ...]:
    before = {(file.path, file.kind, file.blob) for file in recorded.ending.files}
    after = {(file.path, file.kind, file.blob) for file in files_of(changes, Redactor(patterns=False))}
    return tuple(sorted({path for path, _, _ in before ^ after}))[:_MOST_FILES]


def _notes(recorded: Cassette, replayed: Replayed) -> Iterator[str]:
    header, ending, player = recorded.header, recorded.ending, replayed.player
    if ending.truncated:
        yield "The recording is not whole: the run said more to the model than is kept."
    if ending.masked:
        yield f"In {ending.masked} answers something was masked when they were recorded; what the agent made of it may differ."
    if not ending.tree:
        yield "What the agent left was not collected when it was recorded, so files are not compared."
    if player.unasked:
        yield f"{player.unasked} recorded exchanges were not asked for."
    if player.missing:
        yield f"{player.missing} questions had no place in the recording and got an error."
    if header.agent != agent_version():
        yield f"Recorded with {header.agent}, replayed with {agent_version()}."
    if header.allowed_domains:
        yield f"The run could reach {', '.join(header.allowed_domains)}; a replay reaches nothing."
    if replayed.result.failure and replayed.result.message:
        yield f"The agent ended with: {replayed.result.message}"


async def _main(settings: RunnerSettings, order: ReplayOrder) -> ReplayReport:
    return await replay(order, await connect(settings, host="replay"))


def main() -> None:
    try:
        settings = load(RunnerSettings)
        configure("runner", settings.effective_log_level)
        logging.getLogger(
            "uvicorn.error"
        ).disabled = True  # a recorded connection that breaks is no error of this program
        keep_only_needed(os.environ)
        order = msgspec.json.decode(sys.stdin.buffer.read(), type=ReplayOrder)
        told = asyncio.run(_main(settings, order))
    except PullwrightError as error:
        sys.exit(f"{error.message} {error.hint}")
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
