"""A run's surroundings for the real Claude Code CLI: a scripted model behind the broker, folders, a sink that remembers."""

import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

from infra.core.clock import Instant
from infra.core.run import Limits
from infra.core.timeline import EventType
from infra.wire import ModelCredentials
from runner import processes
from runner.agents.claude_code import ClaudeCode
from runner.agents.port import Job
from runner.broker import Broker
from runner.sandbox import PlainSandbox
from tests.runner.upstream import Upstream, serving

KEY = "sk-ant-the-real-key-CANARY-3141"
MODEL = "claude-sonnet-5-5"


def clock() -> Instant:
    return Instant(int(time.time() * 1000))


class Rig:
    """A run's surroundings; ``events`` is what the agent told."""

    def __init__(self, home: Path, upstream: Upstream, broker: Broker, *, own_user: bool) -> None:
        self.upstream, self.broker = upstream, broker
        self.tree, self.home, self.tmp = home / "tree", home / "home", home / "tmp"
        self.sandbox = PlainSandbox(home / "launchers", own_user=own_user)
        self.agent = ClaudeCode(sandbox=self.sandbox, clock=clock, entropy=os.urandom, model_retries=1)
        self.events: list[tuple[EventType, dict]] = []
        self.stop_at: EventType | None = None

    def job(self, prompt: str = "Fix the bug.", **more) -> Job:
        limits = Limits(budget_micros=10**7, wall_seconds=60, idle_seconds=60, max_turns=20)
        asked = {"limits": limits, "model_access": self.broker, "model": MODEL, "id": f"job-{os.urandom(5).hex()}"}
        return Job(prompt=prompt, tree=self.tree, home=self.home, tmp=self.tmp, **asked | more)

    async def sink(self, kind: EventType, data) -> None:
        json.dumps(data)  # every event can be stored
        self.events.append((kind, dict(data)))

    async def run(self, job: Job | None = None):
        return await self.agent.run(job or self.job(), self.sink)

    def told(self, kind: EventType) -> list[dict]:
        return [data for each, data in self.events if each is kind]

    def output(self) -> str:
        return "\n".join(data["text"] for data in self.told(EventType.TOOL_RESULT))

    def processes(self) -> set:
        return {
            pid
            for pid in processes.living()
            if pid != os.getpid()
            and processes.mark_of(pid).startswith("job-")
            and str(os.getpid()) in processes.mark_of(pid)
        }


@asynccontextmanager
async def rig_in(home: Path, *, budget: int = 10**7, own_user: bool = False):
    for name in ("tree", "home", "tmp"):
        (home / name).mkdir()
    async with serving(Upstream()) as upstream:
        credentials = ModelCredentials(
            mode="api_key", base_url=upstream.url, headers={"x-api-key": KEY}, allowed_models=[MODEL]
        )
        async with Broker(credentials=credentials, budget_micros=budget, clock=clock, entropy=os.urandom) as broker:
            yield Rig(home, upstream, broker, own_user=own_user)
