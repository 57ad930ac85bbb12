"""Runner processes: each attempt at a task is a process of its own with the real story of a run in it."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec

from infra.core.clock import Instant
from infra.core.errors import Forbidden, NotFound, PullwrightError, Unauthenticated
from infra.core.forge import AccessToken
from infra.core.repository import Repository
from infra.core.run import Usage
from infra.core.timeline import EventType
from infra.github.client import GitHubRepository
from infra.github.transport import Transport
from infra.wire import ProcessIssue
from runner.agents.port import Result
from runner.execute import execute
from runner.wiring import Tools
from tests.simulation.control_plane import GitHubTransport
from tests.simulation.process import Process, current

_DEADLINE_SECONDS = 1800.0


class Runners:
    def __init__(self, world):
        self._world = world
        self._count = 0

    async def deliver(self, task):
        """One attempt at a task, as the queue makes it: True when the answer ends the task."""
        job = msgspec.json.decode(task.body, type=ProcessIssue)
        self._count += 1
        process = Process(f"runner {self._count}")
        process.fence = 0
        process.launch = task.name
        work = process.start(execute(job, _tools(self._world, process)))
        done, _ = await asyncio.wait([work], timeout=_DEADLINE_SECONDS)
        if not done or work.cancelled() or not process.alive:
            return False
        error = work.exception()
        self._world.journal.add(
            "ended", process=process.name, outcome=str(work.result().state) if error is None else type(error).__name__
        )
        return error is None or isinstance(error, (Unauthenticated, Forbidden, NotFound)) or self._odd(error)

    def _odd(self, error):
        if not isinstance(error, PullwrightError):
            self._world.defects.append(repr(error))
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTools(Tools):
    world: Any
    process: Any

    def gateway(self, job):
        gateway = Tools.gateway(self, job)
        gateway.transport = _Line(self.world)
        return gateway

    def stream(self, gateway, claimed):
        self.process.fence = claimed.fence
        self.world.journal.add("claimed", process=self.process.name, run=gateway.run_id, fence=claimed.fence)
        return Tools.stream(self, gateway, claimed)

    @asynccontextmanager
    async def repository(self, assignment, credentials):
        token = AccessToken(value=credentials.token, expires_at=Instant(credentials.expires_at))

        async def only_token():
            return token

        transport = Transport(
            api_url=assignment.api_url,
            http=httpx.AsyncClient(transport=GitHubTransport(self.world)),
            ticks=self.clock,
            entropy=self.entropy,
        )
        yield GitHubRepository(
            transport=transport,
            git_url="https://github.test",
            repository=Repository(owner=assignment.owner, name=assignment.repo),
            token_source=only_token,
            pace=transport.pace(),
        )


class SimWorking:
    """In place of the agent's phase: works for a while, spends money, and changes a file – mostly."""

    def __init__(self, *, claimed, tools, stream, credentials, **_):
        self._claimed, self._tools, self._stream, self._credentials = claimed, tools, stream, credentials
        self.evidence, self.exit_code = None, None
        self.begun, self.hurry, self.spent = False, asyncio.Event(), Usage()

    async def run(self, place, _resumed):
        await self._credentials()
        self.begun = True
        world, process, run_id = self._tools.world, current(), self._claimed.assignment.run_id
        for step in range(world.random.randint(1, 5)):
            await asyncio.sleep(world.random.uniform(1, 80))
            process.check()
            cost = world.random.randint(1, 50_000)
            self.spent = self.spent.plus(Usage(turns=1, output_tokens=7, cost_micros=cost))
            world.journal.add("spent", run=run_id, fence=process.fence, micros=cost)
            await self._stream.emit(EventType.MESSAGE, {"text": f"step {step}"})
        if world.random.random() < 0.95:
            (place.tree / "answer.txt").write_text(f"{run_id} by {process.name}\n")
        world.journal.add("agent", run=run_id, fence=process.fence)
        return Result(summary="Done.", session_id="s", turns=1)


class _Line(httpx.AsyncBaseTransport):
    """The runner's line to the gateway."""

    def __init__(self, world):
        self._world = world

    async def handle_async_request(self, request):
        content = await request.aread()
        target = request.url.raw_path.decode()
        headers = {name.decode(): value.decode() for name, value in request.headers.raw}

        async def effect():
            status, raw, body = await self._world.plane.call(request.method, target, headers, content)
            return httpx.Response(status, headers=raw, content=body)

        name = f"gateway {target.partition('?')[0].rpartition('/')[2]}"
        if "." in name:
            name = "gateway artifact"
        limits = request.extensions["timeout"]
        try:
            async with asyncio.timeout(limits["read"]):
                return await self._world.edge.call(name, effect, lambda: httpx.ReadError("The gateway did not answer."))
        except TimeoutError:
            raise httpx.ReadTimeout("The gateway did not answer.") from None


def _tools(world, process):
    return SimTools(
        host="service",
        version="simulated",
        container_id=process.name,
        hmac_secret="",
        work_dir=world.folder / process.name,
        git=None,
        agent=SimpleNamespace(type="An imagined agent"),
        sandbox=None,
        clock=world.clock,
        entropy=world.random.randbytes,
        world=world,
        process=process,
    )
