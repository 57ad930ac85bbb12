"""The registry of agents, the line-based one in real boxes, and the page that shows how a third is made."""

import asyncio
import os
import re
import time
import tomllib
from pathlib import Path

import pytest

from infra.core.clock import Instant
from infra.core.commands import AGENT_TYPES, CLAUDE_CODE, LINES
from infra.core.errors import Invalid
from infra.core.run import Limits, Usage
from infra.core.timeline import EventType
from runner import processes
from runner.agents.lines import LineAgent
from runner.agents.port import Failure, Inbox, Job, Mail
from runner.agents.registry import AGENTS, Parts, make_agent
from runner.bubblewrap import BubblewrapSandbox
from runner.sandbox import PlainSandbox
from tests.runner.boxes import needs_boxes
from tests.runner.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def clock() -> Instant:
    return Instant(int(time.time() * 1000))


class NoModel:
    url = token = ""
    usage = Usage()
    exhausted = False
    active_at = Instant(0)


@pytest.fixture(params=["bubblewrap", "none"])
def sandbox(request, tmp_path):
    tmp_path.chmod(0o711)
    if request.param == "none":
        return PlainSandbox(tmp_path / "launchers")
    if needs_boxes.args[0]:
        pytest.skip(needs_boxes.kwargs["reason"])
    return BubblewrapSandbox(tmp_path / "launchers")


@pytest.fixture
def job(tmp_path):
    for name in ("tree", "home", "tmp"):
        (tmp_path / name).mkdir(mode=0o700)

    def make(**more):
        limits = Limits(budget_micros=1, wall_seconds=60, idle_seconds=60, max_turns=1)
        asked = {"limits": limits, "id": f"job-{os.urandom(5).hex()}", "prompt": "the task"} | more
        folders = {name: tmp_path / name for name in ("tree", "home", "tmp")}
        return Job(model="none", model_access=NoModel(), **folders, **asked)

    return make


def script(tree, text):
    (tree / "agent.sh").write_text(f"#!/bin/sh\n{text}\n")
    (tree / "agent.sh").chmod(0o755)


class Told(list):
    async def sink(self, kind, data):
        self.append((kind, dict(data)))

    def of(self, kind):
        return "".join(data["text"] for each, data in self if each is kind)


def lines(sandbox, *command, **more):
    return LineAgent(sandbox=sandbox, clock=clock, path="/usr/local/bin:/usr/bin:/bin", command=command, **more)


async def test_what_a_command_prints_are_its_words_and_its_exit_code_is_its_verdict(sandbox, job):
    job, told = job(), Told()
    script(job.tree, 'echo "$PROMPT"; echo oops >&2; touch made; echo done')
    result = await lines(sandbox, "./agent.sh").run(job, told.sink)
    assert (result.failure, result.exit_code, result.summary) == (None, 0, "done")
    assert (told.of(EventType.STDOUT), told.of(EventType.STDERR)) == ("the task\ndone\n", "oops\n")
    assert (job.tree / "made").exists()
    script(job.tree, "echo why; exit 3")
    result = await lines(sandbox, "./agent.sh").run(job, told.sink)
    assert (result.failure, result.exit_code) == (Failure.AGENT, 3)
    assert "why" in result.hint


async def test_a_line_without_end_is_told_in_pieces(sandbox, job):
    job, told = job(), Told()
    script(job.tree, "head -c 3000000 /dev/zero | tr '\\0' x")
    result = await lines(sandbox, "./agent.sh").run(job, told.sink)
    assert result.ok
    assert len(told.of(EventType.STDOUT)) == 3_000_000
    assert max(len(data["text"]) for kind, data in told if kind is EventType.STDOUT) <= 16_000


async def test_messages_arrive_as_lines(sandbox, job):
    inbox, settled, told = Inbox(), [], Told()
    job = job(inbox=inbox)
    script(job.tree, 'echo ready; read line; echo "heard: $line"')
    working = asyncio.ensure_future(lines(sandbox, "./agent.sh").run(job, told.sink))
    await until(lambda: told.of(EventType.STDOUT))
    inbox.post(Mail(text="go\non", settled=settled.append))
    assert (await working).summary == "heard: go on"
    assert settled == [True]


async def test_a_silent_command_is_stopped(sandbox, job):
    limits = Limits(budget_micros=1, wall_seconds=60, idle_seconds=1, max_turns=1)
    job, told = job(limits=limits), Told()
    script(job.tree, "sleep 2718 & sleep 2718")
    result = await lines(sandbox, "./agent.sh").run(job, told.sink)
    assert result.failure is Failure.IDLE
    assert not living(b"sleep\x002718")


def living(words):
    return [pid for pid in processes.living() if words in processes._bytes(pid, "cmdline")]


async def stopped(sandbox, job, text, **more):
    told = Told()
    script(job.tree, text)
    working = asyncio.ensure_future(lines(sandbox, "./agent.sh", **more).run(job, told.sink))
    await until(lambda: told.of(EventType.STDOUT))
    started = time.monotonic()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    return told, time.monotonic() - started


async def test_whoever_is_stopped_is_asked_first(sandbox, job):
    job = job()
    await stopped(sandbox, job, "trap 'touch asked; exit 0' INT; echo ready; while :; do sleep 0.05; done")
    assert (job.tree / "asked").exists()


async def test_whoever_ignores_it_is_killed_with_everything_below_after_the_grace(sandbox, job):
    job = job()
    text = "trap '' INT TERM; (setsid sleep 1618 &) ; echo ready; while :; do sleep 0.05; done"
    _, seconds = await stopped(sandbox, job, text, grace_seconds=1.5)
    assert seconds >= 1.5
    assert not living(b"sleep\x001618")


async def test_in_a_hurry_there_is_no_grace(sandbox, job):
    job = job()
    job.hurry.set()
    text = "trap '' INT TERM; echo ready; while :; do sleep 0.05; done"
    _, seconds = await stopped(sandbox, job, text, grace_seconds=40)
    assert seconds < 30


def test_every_type_has_a_maker_and_a_program():
    assert set(AGENTS) == set(AGENT_TYPES)
    programs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert (programs["claude-runner"], programs["rev-runner"]) == ("runner.cli:main", "runner.cli:rev")


def test_agents_are_made_by_their_type(tmp_path):
    parts = Parts(sandbox=PlainSandbox(tmp_path), clock=clock, entropy=os.urandom, path="", command=("make", "check"))
    assert make_agent(CLAUDE_CODE, parts).type == CLAUDE_CODE
    assert make_agent(LINES, parts).type == LINES
    with pytest.raises(Invalid, match="There is no agent"):
        make_agent("gpt", parts)
    for command in ((), ("A=1", "make")):
        with pytest.raises(Invalid, match="no command"):
            lines(parts.sandbox, *command)


async def test_the_third_agent_of_the_page_works(sandbox, job):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "agents.md").read_text(), re.DOTALL)
    page = {}
    exec(code, page)
    job, told = job(), Told()
    result = await page["Echo"](sandbox).run(job, told.sink)
    assert (result.summary, result.exit_code) == ("the task\n", 0)
    assert told == [(EventType.MESSAGE, {"text": "the task\n"})]
