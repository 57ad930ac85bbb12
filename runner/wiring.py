"""Settings → tools: the only file of the runner that names an adapter or a driver."""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from infra.core.clock import Clock, Instant
from infra.core.commands import CLAUDE_CODE, AllowedCommand, parse_extra
from infra.core.egress import AllowList
from infra.core.forge import AccessToken, RepositoryForge
from infra.core.ids import Entropy, RunId, new_token, parse_run_id
from infra.core.redaction import Redactor
from infra.core.repository import Repository
from infra.core.run import Limits
from infra.core.timeline import EventType
from infra.settings import RunnerSettings, required
from infra.system_clock import system_clock
from infra.wire import Assignment, Claimed, GitCredentials, ModelCredentials, ProcessIssue, WireEvent
from runner.agents.port import Agent, Inbox, Job, Sink
from runner.asked import Reader, asked_places
from runner.box_layout import own_python
from runner.broker import Broker, BudgetNotice
from runner.cassette import header_of
from runner.checkpoints import Checkpoints
from runner.commands import Bench, Commands
from runner.connection import may_trust_itself
from runner.egress import Egress, EgressLimits
from runner.evidence import Recording
from runner.gateway import Gateway
from runner.git import Git, check_git
from runner.lease import Lease
from runner.mcp_servers import McpServers, McpSurroundings
from runner.mirror import Mirror, check_url
from runner.model_server import Renew
from runner.recorder import Recorder
from runner.run_log import RUN_LOG, RunLog
from runner.sandbox import Sandbox, end_strays
from runner.sandboxes import choose_sandbox
from runner.side_door import side_door
from runner.snapshot import Snapshots
from runner.stream import Stream
from runner.tool_log import TOOL_LOG, ToolLog
from runner.workspace import Workspace

LAPTOP = "laptop"

KEPT_VARIABLES = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"})
NETWORK_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "GIT_SSL_CAINFO")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What ``execute`` works with. ``host``: service, job or laptop. ``prompt``: instead of the assignment's. ``own_tree``: a person's
    folder to work in instead of a clone, published only with ``push``. ``viewers`` hear what is told."""

    host: str
    version: str
    container_id: str
    hmac_secret: str
    work_dir: Path
    git: Git
    agent: Agent
    sandbox: Sandbox
    clock: Clock
    entropy: Entropy
    sandbox_note: str = ""
    mcp_dir: Path = Path("/opt/mcp")
    path: str = os.defpath
    extra_commands: tuple[AllowedCommand, ...] = ()
    question_seconds: float = 600.0
    checkpoint_seconds: float = 60.0
    websocket_url: str = field(default="", repr=False)
    runs_dir: Path | None = None
    viewers: tuple[Callable[[WireEvent], None], ...] = ()
    prompt: str = ""
    own_tree: Path | None = None
    push: bool = False
    trust_any: bool = False

    @property
    def attended(self) -> bool:
        """A person sits at this machine: interrupting the runner is stopping the run."""
        return self.host == LAPTOP

    @asynccontextmanager
    async def side_door(self, run_id: RunId, tell: Sink) -> AsyncIterator[None]:
        """On a person's machine, for that person's other programs."""
        if self.runs_dir is None:
            yield
            return
        async with side_door(self.runs_dir / run_id, tell):
            yield

    def run_log(self, run_id: RunId, fence: int) -> RunLog:
        """On a person's machine the log stays; elsewhere the artifact is all that is left of it."""
        if self.runs_dir is not None:
            return RunLog(self.runs_dir / run_id / RUN_LOG, stay=True)
        return RunLog(self.work_dir.parent / "logs" / f"{run_id}-{fence}.log", stay=False)

    def new_holder(self) -> str:
        """Unique for each attempt, so that a lease never passes for another's."""
        return f"{self.container_id}.{new_token(self.entropy, 12)}"

    def gateway(self, job: ProcessIssue) -> Gateway:
        return Gateway(
            url=job.gateway_url.rstrip("/"),
            run_id=job.run_id,
            token=job.token,
            clock=self.clock,
            entropy=self.entropy,
            hmac_secret=self.hmac_secret,
            trust_any=self.trust_any,
        )

    def stream(self, gateway: Gateway, claimed: Claimed) -> Stream:
        redactor = Redactor([gateway.token])
        run_id = claimed.assignment.run_id
        return Stream(
            mirror=Mirror(url=self.websocket_url, run_id=run_id) if self.websocket_url else None,
            gateway=gateway,
            run_id=run_id,
            fence=claimed.fence,
            sequence=claimed.next_sequence,
            redactor=redactor,
            clock=self.clock,
        )

    def broker(
        self,
        credentials: ModelCredentials,
        limits: Limits,
        *,
        inbox: Inbox,
        stream: Stream,
        place: Workspace,
        renew: Renew | None = None,
        recorder: Recorder | None = None,
    ) -> Broker:

        async def notify(notice: BudgetNotice) -> None:
            inbox.put(notice.text)
            await stream.emit(EventType.INFO, {"message": notice.text, "code": "budget_notice"})

        async def blocked(sentence: str) -> None:
            await stream.emit(EventType.INFO, {"message": sentence, "code": "blocked_model_use"})

        return Broker(
            credentials=credentials,
            budget_micros=limits.budget_micros,
            clock=self.clock,
            entropy=self.entropy,
            notify=notify,
            blocked=blocked,
            renew=renew,
            recorder=recorder,
            socket=place.root / "broker.sock",
        )

    def recording(
        self, assignment: Assignment, credentials: ModelCredentials, redactor: Redactor, place: Workspace
    ) -> Recording | None:
        """None unless the assignment wants one."""
        if not assignment.record:
            return None
        header = header_of(
            assignment,
            redactor=redactor,
            allowed_models=credentials.allowed_models,
            surcharge_percent=credentials.surcharge_percent,
            agent=agent_version(),
            at=self.clock(),
            places=place.names,
        )
        return Recording(recorder=Recorder(Reader(asked_places(place.names)), self.clock), header=header)

    def egress(self, allowed: AllowList, limits: Limits, stream: Stream, place: Workspace) -> Egress:

        async def blocked(sentence: str) -> None:
            await stream.emit(EventType.INFO, {"message": sentence, "code": "blocked_host"})

        return Egress(
            allowed=allowed,
            blocked=blocked,
            socket=place.root / "egress.sock",
            limits=EgressLimits(seconds=limits.wall_seconds),
        )

    def commands(self, job: Job, place: Workspace, gateway: Gateway, stream: Stream, claimed: Claimed) -> Commands:
        """Allowed commands beside the agent of ``job``."""

        async def keep(name: str, content: bytes) -> None:
            await gateway.send_artifact(name, claimed.fence, content)

        bench = Bench(
            beside=job.id,
            tree=place.tree,
            root=place.root,
            agent=self.agent.type,
            path=self.path,
            environment=self.git.box_environment,
        )
        return Commands(
            bench=bench,
            sandbox=self.sandbox,
            sink=stream.emit,
            redactor=stream.redactor,
            keep=keep,
            extra=self.extra_commands,
        )

    def mcp_servers(
        self, claimed: Claimed, values: Mapping[str, Mapping[str, str]], stream: Stream, place: Workspace
    ) -> McpServers:
        """The servers that the project switched on, each with a proxy of its own."""
        assignment = claimed.assignment

        async def blocked(sentence: str) -> None:
            await stream.emit(EventType.INFO, {"message": sentence, "code": "blocked_host"})

        def egress(allowed: AllowList, socket: Path) -> Egress:
            limits = EgressLimits(seconds=assignment.limits.wall_seconds)
            return Egress(allowed=allowed, blocked=blocked, socket=socket, limits=limits)

        surroundings = McpSurroundings(
            sandbox=self.sandbox,
            installed=self.mcp_dir,
            place=place.root,
            box_id=f"{assignment.run_id}-{claimed.fence}",
            path=self.path,
            egress=egress,
            clean=stream.redactor.data,
            tell=stream.emit,
            project_hosts=assignment.allowed_domains,
        )
        return McpServers(assignment.project.mcp_servers, values, surroundings)

    def checkpoints(self, job: Job, place: Workspace, gateway: Gateway, lease: Lease) -> Checkpoints:
        """Of the agent of ``job``."""
        assignment = lease.claimed.assignment
        snapshots = Snapshots(
            sandbox=self.sandbox,
            place=place,
            beside=job.id,
            run_id=parse_run_id(assignment.run_id),
            base_sha=assignment.base_sha,
            path=self.path,
            environment=self.git.box_environment,
            clock=self.clock,
        )
        return Checkpoints(
            snapshots=snapshots,
            gateway=gateway,
            lease=lease,
            clock=self.clock,
            every_seconds=self.checkpoint_seconds,
            session_id=job.new_session_id or job.session_id or "",
        )

    def tool_log(self, stream: Stream, place: Workspace) -> ToolLog:
        return ToolLog(place.root / TOOL_LOG, clock=self.clock, clean=stream.redactor.data)

    @asynccontextmanager
    async def repository(self, assignment: Assignment, credentials: GitCredentials) -> AsyncIterator[RepositoryForge]:
        """The repository through the one token that this run was given for publishing."""
        from infra.github.client import GitHubRepository

        token = AccessToken(value=credentials.token, expires_at=Instant(credentials.expires_at))

        async def only_token() -> AccessToken:
            return token

        forge = GitHubRepository.connect(
            api_url=assignment.api_url,
            git_url=assignment.git_url.removesuffix(f"/{assignment.owner}/{assignment.repo}.git"),
            repository=Repository(owner=assignment.owner, name=assignment.repo),
            token_source=only_token,
        )
        try:
            yield forge
        finally:
            await forge.close()

    def walls(self) -> dict[str, object]:
        """What protects this machine from the agent, and what does not; ``note`` says why it is not more."""
        walls = [{"name": wall.name, "up": wall.up, "why": wall.why} for wall in self.sandbox.walls()]
        return {"driver": self.sandbox.name, "note": self.sandbox_note, "walls": walls}


Verify = Callable[[str], Awaitable[str]]


def callers(settings: RunnerSettings, clock: Clock = system_clock) -> Verify | None:
    """Who may call the runner service: verifies an identity token. None on a person's machine, where it listens on
    loopback only."""
    if settings.platform == "local":
        return None
    from infra.gcp.identity import GoogleCallers, GoogleKeys

    return GoogleCallers(
        keys=GoogleKeys(clock=clock, certs_url=settings.google_certs_url),
        audience=required(settings.runner_audience, "RUNNER_AUDIENCE"),
        emails=frozenset({required(settings.invoker_service_account, "INVOKER_SERVICE_ACCOUNT")}),
        clock=clock,
        behind_invoker_check=settings.invoker_iam_check,
    ).verify


async def connect(
    settings: RunnerSettings,
    *,
    host: str,
    agent_type: str = CLAUDE_CODE,
    command: tuple[str, ...] = (),
    clock: Clock = system_clock,
) -> Tools:
    """Raises ``Unavailable`` when this machine cannot run agents at all: no git, or one that is too old, or no sandbox where
    one is required."""
    from runner.agents.claude_code import preload
    from runner.agents.registry import Parts, make_agent

    preloading = asyncio.get_running_loop().run_in_executor(None, preload)
    await end_strays()
    work_dir = Path(settings.work_dir or tempfile.gettempdir()) / "work"
    chosen = await choose_sandbox(
        settings.runner_sandbox, work_dir / "launchers", toolchains=settings.runner_toolchains
    )
    network = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    git = await check_git(network=network)
    path = _agent_path(os.environ.get("PATH", os.defpath))
    await preloading
    parts = Parts(
        sandbox=chosen.sandbox,
        clock=clock,
        entropy=os.urandom,
        path=path,
        program=Path(settings.claude_command) if settings.claude_command else None,
        command=command or tuple(shlex.split(settings.agent_command)),
    )
    return Tools(
        host=host,
        version=version("pullwright"),
        container_id=settings.container_id or new_token(os.urandom, 12),
        hmac_secret=settings.hmac_secret,
        work_dir=work_dir / "runs",
        git=git,
        agent=make_agent(agent_type, parts),
        sandbox=chosen.sandbox,
        sandbox_note=chosen.note,
        mcp_dir=Path(settings.runner_mcp_dir),
        path=path,
        extra_commands=parse_extra(settings.extra_allowed_commands),
        question_seconds=settings.question_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
        websocket_url=check_url(settings.websocket_url) if settings.websocket_url else "",
        runs_dir=Path(settings.runs_dir) if host == LAPTOP else None,
        trust_any=may_trust_itself(settings.gateway_url, settings.allow_self_signed),
        clock=clock,
        entropy=os.urandom,
    )


def agent_version() -> str:
    """The program that speaks to the model."""
    return f"claude-agent-sdk {version('claude-agent-sdk')}"


def _agent_path(path: str) -> str:
    """With this program's own Python at the end: a box has it even where the machine has no other outside home folders."""
    return f"{path}{os.pathsep}{own_python()[0].parent}"


def keep_only_needed(environment: MutableMapping[str, str]) -> None:
    """Forgets every variable but a few, once the settings are read: children inherit what is here."""
    for name in set(environment) - KEPT_VARIABLES - set(NETWORK_VARIABLES):
        del environment[name]
