"""The real control plane as a process that can die: its app over an edged platform, called without a socket."""

import asyncio
import tempfile
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import httpx

from dispatcher.app import build_app
from dispatcher.bell import Bell
from dispatcher.engine.sweep import sweep
from dispatcher.wiring import connect
from infra.github.app_auth import AppCredentials
from infra.github.client import GitHubForge
from infra.github.transport import Transport
from infra.platform_secrets import (
    ANTHROPIC_API_KEY,
    APP_ID,
    APP_PRIVATE_KEY,
    INTERNAL_KEY,
    RUN_TOKEN_KEY,
    WEBHOOK_SECRET,
    PlatformSecrets,
)
from infra.settings import DispatcherSettings, load
from tests.simulation.platform import EdgedDocuments, SimBucket, SimQueue, SimSecrets
from tests.simulation.process import Process
from tests.world.forge import key_pair

URL = "http://dispatcher.test"
INTERNAL = {"authorization": "Bearer an-identity-token"}
SECRET = b"the webhook secret of a simulation"
_DOWNTIME_SECONDS = 3.0


@cache
def _wired():
    """The real wiring, once: what is replaced below is only what lies outside the process."""
    folder = tempfile.mkdtemp(prefix="pullwright-simulation-")
    given = {
        "DATA_DIR": folder,
        "PUBLIC_URL": URL,
        "CLAUDE_CLOUD_RUN_URL": "http://runner.test",
        "GITHUB_API_URL": "http://github.test/api/v3",
        "GITHUB_URL": "https://github.test",
        "GITHUB_APP_ID": "1",
        "HEARTBEAT_SECONDS": "15",
        "ANTHROPIC_API_KEY": "sk-ant-simulated",
    }
    return connect(load(DispatcherSettings, given)), Path(folder)


class ControlPlane:
    """``crash()`` loses what it has in memory; it is back some seconds later, as another instance would be."""

    def __init__(self, world, deliver):
        self._world = world
        self.bucket = SimBucket(world.edge)
        secrets = {
            RUN_TOKEN_KEY: b"k" * 64,
            INTERNAL_KEY: b"i" * 64,
            WEBHOOK_SECRET: SECRET,
            APP_ID: b"1",
            APP_PRIVATE_KEY: key_pair().private.encode(),
            ANTHROPIC_API_KEY: b"sk-ant-simulated",
        }
        self._secrets = SimSecrets(secrets, world.edge)
        self._store = EdgedDocuments(world.store, world.edge, world.journal)
        self._queue = SimQueue(world.edge, world.random, world.journal, deliver, world.clock)
        self._started = 0
        self._down_until = 0.0
        self._start()

    def _start(self):
        self._started += 1
        self.process = Process(f"dispatcher {self._started}")
        self.services = self._connect()
        self._app = build_app(self.services)

    def _connect(self):
        world, (wired, _) = self._world, _wired()
        forge = _forge(world)

        async def connected():
            return forge

        own = {
            "clock": world.clock,
            "entropy": world.random.randbytes,
            "store": self._store,
            "queue": self._queue,
            "secrets": self._secrets,
            "bucket": self.bucket,
            "platform": PlatformSecrets(store=self._secrets, given={}, clock=world.clock),
            "forge": connected,
            "check_internal": _trusting,
        }
        for field in fields(wired):
            value = getattr(wired, field.name)
            if isinstance(value, Bell):
                own[field.name] = Bell()
            elif field.name not in own:
                own[field.name] = _over(self._store, value)
        return replace(wired, **own)

    async def perform(self, task):
        """A task of the queue that is for the control plane itself: True when the answer ends it."""
        try:
            status, _, _ = await self.call("POST", task.url.removeprefix(URL), {**task.headers, **INTERNAL}, task.body)
        except httpx.TransportError:
            return False
        return status < 300

    async def call(self, method, target, headers, body=b""):
        """(status, headers, body). Raises ``httpx.ConnectError`` while it is down and ``httpx.ReadError`` when it dies meanwhile."""
        self._revive()
        process = self.process
        answer = await asyncio.wait([process.start(self._asgi(method, target, headers, body))])
        task = next(iter(answer[0]))
        if task.cancelled() or not process.alive:
            self._down()
            raise httpx.ReadError("The connection was lost.")
        return task.result()

    async def sweep(self):
        """The scheduler's tick; a tick that fails is followed by the next."""
        try:
            self._revive()
        except httpx.ConnectError:
            return
        process = self.process
        await asyncio.wait([process.start(sweep(self.services))])
        if not process.alive:
            self._down()

    def _down(self):
        if not self.process.alive and self._down_until == 0.0:
            self._down_until = asyncio.get_running_loop().time() + _DOWNTIME_SECONDS

    def _revive(self):
        if self.process.alive:
            return
        self._down()
        if asyncio.get_running_loop().time() < self._down_until:
            raise httpx.ConnectError("Nobody listens.")
        self._down_until = 0.0
        self._start()

    async def _asgi(self, method, target, headers, body):
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("dispatcher.test", 80),
            "client": ("127.0.0.1", 1),
        }
        messages, told = [], False

        async def receive():
            nonlocal told
            if told:
                await asyncio.get_running_loop().create_future()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            messages.append(message)

        await self._app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in messages[1:])
        return messages[0]["status"], messages[0].get("headers", []), content


async def _trusting(_token):
    """Who may call what is internal has tests of its own."""


def _over(store, value):
    """Repositories of records, also those inside of others, over this store."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    inner = {
        field.name: store if field.name == "store" else _over(store, getattr(value, field.name))
        for field in fields(value)
        if field.init and (field.name == "store" or is_dataclass(getattr(value, field.name)))
    }
    return replace(value, **inner) if inner else value


def _forge(world):
    """The real client; GitHub is on the far side of an edge."""
    transport = Transport(
        api_url="http://github.test/api/v3",
        http=httpx.AsyncClient(transport=GitHubTransport(world)),
        ticks=world.clock,
        entropy=world.random.randbytes,
    )
    return GitHubForge(transport=transport, git_url="https://github.test", credentials=_app(), clock=world.clock)


@cache
def _app():
    return AppCredentials("1", key_pair().private)


class GitHubTransport(httpx.AsyncBaseTransport):
    def __init__(self, world):
        self._world = world

    async def handle_async_request(self, request):
        content = await request.aread()

        async def effect():
            return self._world.github.handle(httpx.Request(request.method, request.url, content=content))

        name = f"github {request.method} {_noun(request.url.path)}"
        return await self._world.edge.call(name, effect, lambda: httpx.ReadError("GitHub did not answer."))


def _noun(path):
    """The last word of a path that is no name or number."""
    words = [part for part in path.split("/") if part.isalpha() or part == "access_tokens"]
    return words[-1] if words else "/"
