"""The MCP servers of one run: each in a box of its own, with its own secrets and its own few hosts, out of the agent's reach.

::

    agent's box ── Claude Code ══ pipes it already has ══ this process ── stdin/stdout ── server's box ── its egress proxy

The agent's side is an ``mcp.server.Server`` in this process, which Claude Code reaches over its control protocol: there is no
port, no address and no token of it inside the agent's box, so nothing but the agent's program can call it, and each call passes
the hook that decides and writes down. What a server answers has every secret of the run taken out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from infra.core.egress import AllowList, parse_allow_list
from infra.core.errors import PullwrightError, Unavailable
from infra.core.mcp_catalogue import CATALOGUE, PROXY, McpServer
from infra.core.mcp_order import McpOrder
from infra.core.timeline import EventType
from runner.agents.port import Sink
from runner.egress import Egress
from runner.sandbox import Box, Door, Sandbox
from runner.shielded import to_the_end

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.server import Server

START_SECONDS = 30.0
CALL_SECONDS = 240.0
MAX_RESULT_CHARS = 1024 * 1024

_NEEDED_WALLS = frozenset({"files", "processes", "network"})
"""Without these an agent could read a server's secret from the machine."""

MakeEgress = Callable[[AllowList, Path], Egress]


@dataclass(frozen=True, slots=True, kw_only=True)
class McpSurroundings:
    """What every server of a run gets its own of. ``installed``: the folder with a folder for each server; ``place``: where folders and
    sockets are made; ``egress``: a proxy for an allow-list, listening on a socket; ``clean`` takes secrets out of a value;
    ``project_hosts``: what the project's agent may reach."""

    sandbox: Sandbox
    installed: Path
    place: Path
    box_id: str
    path: str
    egress: MakeEgress
    clean: Callable[[Any], Any]
    tell: Sink
    project_hosts: Sequence[str] = ()


class McpServers:
    """Runs while its context is open. A server that cannot be started is told and left out: the run goes on without it.

    ``values``: server → its variable → secret value.
    """

    def __init__(
        self, orders: Sequence[McpOrder], values: Mapping[str, Mapping[str, str]], surroundings: McpSurroundings
    ) -> None:
        self.running: dict[str, Server[Any]] = {}
        self._orders = orders
        self._values = values
        self._with = surroundings
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(self._start(order) for order in self._orders))
        except BaseException:  # also when the run is stopped meanwhile: no server may outlive it
            for task in self._tasks:
                task.cancel()
            await self._ended()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await self._ended()

    async def _ended(self) -> None:
        if self._tasks:
            await to_the_end(asyncio.wait(self._tasks))

    async def _start(self, order: McpOrder) -> None:
        """Each server lives in a task of its own: what breaks in there breaks nothing else."""
        ready: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._live(order, ready), name=f"mcp {order.server}")
        self._tasks.append(task)
        try:
            async with asyncio.timeout(START_SECONDS):
                waited: set[asyncio.Future[Any]] = {ready, task}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            task.cancel()
        if ready.done() and not ready.cancelled():
            session = ready.result()
            self.running[order.server] = facade(order.server, session, self._with.clean)
            await self._tell(f"The MCP server {order.server} runs in a box of its own.")
            return
        await asyncio.wait({task})
        await self._tell(f"This run has no MCP server {order.server}: {_why(task)}")

    async def _live(self, order: McpOrder, ready: asyncio.Future[ClientSession]) -> None:
        from mcp import ClientSession, StdioServerParameters
        from mcp.client.stdio import stdio_client

        async with AsyncExitStack() as stack:
            launcher, arguments = await self._box(order, stack)
            silent = stack.enter_context(os.fdopen(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), "w"))
            parameters = StdioServerParameters(command=str(launcher), args=arguments, cwd=str(self._with.place))
            read, write = await stack.enter_async_context(stdio_client(parameters, errlog=silent))
            session = await stack.enter_async_context(ClientSession(read, write))
            await session.initialize()
            ready.set_result(session)
            await self._stop.wait()

    async def _box(self, order: McpOrder, stack: AsyncExitStack) -> tuple[Path, list[str]]:
        """The launcher of the server's box, and the arguments for it. Raises ``Unavailable`` when it cannot be had as it must be."""
        server, around = CATALOGUE[order.server], self._with
        program = around.installed / order.server / "bin" / server.program
        if not os.access(program, os.X_OK):
            raise Unavailable(
                f"it is not installed on this runner ({server.package} {server.version}).",
                hint="The operator installs it into RUNNER_MCP_DIR, see docs/project.md.",
            )
        doors, variables, arguments = await self._network(order, server, stack)
        folder = around.place / f"mcp-{order.server}"
        tree, home, tmp = (folder / each for each in ("tree", "home", "tmp"))
        await asyncio.to_thread(_make, folder, (tree, home, tmp))
        environment = {
            "PATH": around.path,
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "LANG": "C.UTF-8",
            **variables,
            **order.plain,
            **self._values.get(order.server, {}),
            **server.fixed,
        }
        box = Box(
            id=f"{around.box_id}-{order.server}",
            tree=tree,
            home=home,
            tmp=tmp,
            environment=environment,
            doors=doors,
            readable=(around.installed / order.server,),
        )
        if order.secrets:
            self._check_walls(box)
            self._check_secrets(order)
        stack.push_async_callback(around.sandbox.destroy, box)
        launcher = await around.sandbox.launcher(box, Path("/usr/bin/env"))
        return launcher, [str(program), *arguments]

    async def _network(
        self, order: McpOrder, server: McpServer, stack: AsyncExitStack
    ) -> tuple[tuple[Door, ...], dict[str, str], list[str]]:
        """A proxy for exactly what this server may reach: doors, variables and the server's arguments."""
        project = self._with.project_hosts if server.project_hosts else ()
        allowed = parse_allow_list([*server.hosts, *order.hosts, *project])
        socket = self._with.place / f"mcp-{order.server}.sock"
        egress = await stack.enter_async_context(self._with.egress(allowed, socket))
        address = f"http://127.0.0.1:{egress.port}"
        arguments = [address if each == PROXY else each for each in server.arguments]
        return (Door(port=egress.port, socket=egress.socket),), egress.environment(), arguments

    def _check_walls(self, box: Box) -> None:
        missing = _NEEDED_WALLS - {wall.name for wall in self._with.sandbox.walls(box) if wall.up}
        if missing:
            raise Unavailable(
                f"it holds a secret, and this machine's sandbox has no {', '.join(sorted(missing))} wall to keep it.",
                hint="Install bubblewrap on the runner.",
            )

    def _check_secrets(self, order: McpOrder) -> None:
        given = self._values.get(order.server, {})
        missing = [name for variable, name in order.secrets.items() if not given.get(variable)]
        if missing:
            raise Unavailable(f"the secret {missing[0]} is not set any more.")

    async def _tell(self, sentence: str) -> None:
        await self._with.tell(EventType.INFO, {"message": self._with.clean(sentence), "code": "mcp"})


def facade(name: str, session: ClientSession, clean: Callable[[Any], Any]) -> Server[Any]:
    """The server as the agent sees it: its tools and nothing else, answers bounded and without secrets."""
    import mcp_types as types
    from mcp.server import Server

    async def list_tools(_context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        async with asyncio.timeout(CALL_SECONDS):
            found = await session.list_tools(params=params)
        return types.ListToolsResult.model_validate(clean(found.model_dump(mode="json", by_alias=True)))

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                result = await session.call_tool(params.name, params.arguments)
        except TimeoutError:
            return _failed(f"{name} did not answer within {CALL_SECONDS:.0f} seconds.")
        except Exception as error:  # noqa: BLE001 - a dead or confused server is the agent's tool error, whatever it raises
            return _failed(f"{name} failed: {clean(str(error))[:500]}")
        if len(result.model_dump_json()) > MAX_RESULT_CHARS:
            return _failed(f"{name} answered more than {MAX_RESULT_CHARS:,} characters. Ask for less.")
        return types.CallToolResult.model_validate(clean(result.model_dump(mode="json", by_alias=True)))

    def _failed(sentence: str) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text=sentence)], is_error=True)

    return Server(name, on_list_tools=list_tools, on_call_tool=call_tool)


def _make(folder: Path, inner: tuple[Path, ...]) -> None:
    folder.mkdir(mode=0o711)
    for each in inner:
        each.mkdir(mode=0o700)


def _why(task: asyncio.Task[None]) -> str:
    """What kept a server from running, for people."""
    if task.cancelled():
        return f"it was not ready after {START_SECONDS:.0f} seconds."
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, PullwrightError):
        return f"{error.message} {error.hint}".strip()
    return f"it broke off at its start ({type(error).__name__})."
