"""The agent's phase of a run: broker, doors, desk and agent, opened in that order and closed in the other."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from infra.core.egress import parse_allow_list
from infra.core.run import Usage
from infra.core.timeline import EventType
from infra.core.tool_policy import policy_for
from infra.wire import Claimed, ModelCredentials
from runner.agents.port import Job, Result, Sink
from runner.broker import Broker
from runner.checkpoints import Checkpoints
from runner.desk import Desk
from runner.evidence import Evidence
from runner.gateway import Gateway
from runner.lease import Lease
from runner.mcp_servers import McpServers
from runner.model_server import MODE_ENVIRONMENT
from runner.sandbox import Door, box_limits
from runner.shielded import to_the_end
from runner.snapshot import Snapshot, Snapshots
from runner.stream import Stream
from runner.takeup import Resumed
from runner.tool_log import ToolLog, hand_over
from runner.wiring import Tools
from runner.workspace import Workspace


@dataclass(slots=True, kw_only=True)
class Working:
    """One agent at work in one workspace. ``credentials`` asks for the model's, and for them anew. ``hurry``: set when this runner must go."""

    claimed: Claimed
    gateway: Gateway
    tools: Tools
    stream: Stream
    desk: Desk
    lease: Lease
    credentials: Callable[[], Awaitable[ModelCredentials]]
    evidence: Evidence | None = None
    begun: bool = False
    exit_code: int | None = None
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _broker: Broker | None = None
    _snapshots: Snapshots | None = None

    @property
    def spent(self) -> Usage:
        """What the agent has used so far, as the broker counted it."""
        return self._broker.usage if self._broker else Usage()

    async def run(self, place: Workspace, resumed: Resumed | None) -> Result:
        """The agent, to its end; no process of it or of a command beside it is left.

        Cancelled in a hurry, it keeps a last checkpoint from which the next attempt goes on.
        """
        credentials = await self.credentials()
        limits = self.claimed.assignment.limits
        recording = self.tools.recording(self.claimed.assignment, credentials, self.stream.redactor, place)
        async with AsyncExitStack() as services:
            self._broker = await services.enter_async_context(
                self.tools.broker(
                    credentials,
                    limits,
                    inbox=self.desk.inbox,
                    stream=self.stream,
                    place=place,
                    renew=self.credentials,
                    recorder=recording.recorder if recording else None,
                )
            )
            self.evidence = Evidence(
                claimed=self.claimed,
                gateway=self.gateway,
                stream=self.stream,
                broker=self._broker,
                recording=recording,
            )
            doors = [Door(port=self._broker.port, socket=self._broker.socket)]
            environment = dict(MODE_ENVIRONMENT.get(credentials.mode, {}))
            if allowed := parse_allow_list(self.claimed.assignment.allowed_domains):
                egress = await services.enter_async_context(self.tools.egress(allowed, limits, self.stream, place))
                doors.append(Door(port=egress.port, socket=egress.socket))
                environment |= egress.environment()
            log = services.enter_context(self.tools.tool_log(self.stream, place))
            services.push_async_callback(hand_over, log, self.gateway, self.claimed.fence, self.stream.emit)
            job = self._job(place, resumed, self._broker, environment, tuple(doors))
            servers = await services.enter_async_context(await self._mcp_servers(place))
            job = self._for_project(job, log, servers)
            checkpoints = self.tools.checkpoints(job, place, self.gateway, self.lease)
            self._snapshots = checkpoints.snapshots
            commands = self.tools.commands(job, place, self.gateway, self.stream, self.claimed)
            await services.enter_async_context(self.desk.with_agent(commands))
            await self.stream.emit(EventType.MARKER, {"name": "started", "command": self.tools.agent.command(job)})
            self.begun = True
            try:
                result = await self.tools.agent.run(job, self._sink(checkpoints))
            except asyncio.CancelledError:
                if self.hurry.is_set():
                    await to_the_end(checkpoints.last())
                raise
            finally:
                await to_the_end(checkpoints.stop())
            if result.ok and result.session_id:  # a follow-up goes on from the last word
                await checkpoints.last()
        await self.evidence.compare(result.reported)
        if result.failure is not None:
            self.evidence.outcome = result.failure
        self.exit_code = result.exit_code
        return result

    async def snapshot(self) -> Snapshot:
        """The files of an agent that has ended."""
        assert self._snapshots is not None, "no agent was at work"
        return await self._snapshots.take("", at_work=False)

    def _sink(self, checkpoints: Checkpoints) -> Sink:
        """To the timeline; and whenever the broker has counted an answer, a turn is over."""

        async def tell(kind: EventType, data: Mapping[str, Any]) -> None:
            await self.stream.emit(kind, data)
            if kind is EventType.USAGE:
                checkpoints.turn()

        return tell

    def _job(
        self,
        place: Workspace,
        resumed: Resumed | None,
        broker: Broker,
        environment: dict[str, str],
        doors: tuple[Door, ...],
    ) -> Job:
        assignment = self.claimed.assignment
        fresh = str(uuid.UUID(bytes=self.tools.entropy(16), version=4))
        same = resumed is not None and not resumed.fork
        return Job(
            id=f"{assignment.run_id}-{self.claimed.fence}",  # a killed attempt may have left its box's launcher behind
            prompt=resumed.prompt if resumed else self.tools.prompt or assignment.prompt,
            tree=place.tree,
            home=place.home,
            tmp=place.tmp,
            model=assignment.model,
            limits=assignment.limits,
            model_access=broker,
            session_id=resumed.session_id if resumed else None,
            new_session_id="" if same else fresh,
            fork=resumed is not None and resumed.fork,
            environment=environment,
            doors=doors,
            inbox=self.desk.inbox,
            ask=self.desk.questions.ask,
            own_tree=place.own_tree,
            hurry=self.hurry,
        )

    async def _mcp_servers(self, place: Workspace) -> McpServers:
        """Their secrets are fetched only for a project that has any, and masked in everything from then on."""
        values: dict[str, dict[str, str]] = {}
        if any(order.secrets for order in self.claimed.assignment.project.mcp_servers):
            values = (await self.gateway.mcp_credentials(self.claimed.fence)).values
            for given in values.values():
                for value in given.values():
                    self.stream.redactor.register(value)
        return self.tools.mcp_servers(self.claimed, values, self.stream, place)

    def _for_project(self, job: Job, log: ToolLog, servers: McpServers) -> Job:
        """The job with what the project's own file says about tools and limits."""
        project = self.claimed.assignment.project
        return replace(
            job,
            tool_policy=policy_for(project.tools, tuple(servers.running)),
            mcp_servers=servers.running,
            audit=log,
            uid=project.run_as_user,
            box_limits=box_limits(project.memory_bytes),
        )
