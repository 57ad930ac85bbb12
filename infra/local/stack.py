"""The whole product on one machine: the same programs as in the cloud, with the embedded stand-ins beside them.

    supervisor (this)  ── queue pump, scheduler
      ├── forge        real git over smart HTTP and the GitHub API we use   (unless GITHUB_APP_ID is set)
      ├── model        the scripted rehearsal model                         (unless a model key is set)
      ├── dispatcher   functions-framework --target dispatch
      └── runner       the runner service

Where real credentials are given, the real GitHub and the real model are used by the same code.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from infra.core.access import Permission, new_api_key
from infra.core.errors import PullwrightError
from infra.core.queue import RetryPolicy
from infra.local import identity
from infra.local.bootstrap import World, prepare_world
from infra.local.documents import SqliteDocuments
from infra.local.processes import INHERITED, Child, answers, free_port, port_is_free
from infra.local.queue import QueuePump
from infra.local.running import forget_forge, note_forge
from infra.local.secrets import FileSecrets
from infra.platform_secrets import INTERNAL_KEY, RUN_TOKEN_KEY
from infra.records.keys import ApiKeys
from infra.settings import DispatcherSettings, RunnerSettings, names
from infra.system_clock import system_clock

SWEEP_SECONDS = 2.0
RECONCILE_EVERY = 15
"""Sweeps between two looks for missed deliveries."""


@dataclass(slots=True)
class Stack:
    """Use as an async context manager. ``given``: the person's settings. ``port``: the dispatcher's, 0 for a free one.

    ``first_key`` is the admin key's text when this start made it, else empty: a key is shown once. ``sandbox`` says which
    walls stand between an agent and this machine.
    """

    data: Path
    given: Mapping[str, str]
    port: int = 0
    on_restart: Callable[[str], None] = print
    first_key: str = ""
    world: World | None = None
    sandbox: str = ""
    runner_url: str = ""
    _children: dict[str, Child] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runner_pid(self) -> int:
        return self._children["runner"].pid

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port = self.port if self.port and port_is_free(self.port) else free_port()
        store = FileSecrets(self.data / "secrets", entropy=os.urandom)
        internal_key = await _ensure(store, INTERNAL_KEY)
        await _ensure(store, RUN_TOKEN_KEY)
        self.first_key = await self._first_key()
        self.world = await prepare_world(self.data, self.given, store, dispatcher_url=self.url)
        runner_port = free_port()
        self.runner_url = f"http://127.0.0.1:{runner_port}"
        self._children = {child.name: child for child in self._programs(runner_port)}
        await asyncio.gather(*(child.start() for child in self._children.values()))
        self._tasks = [
            asyncio.create_task(self._pump(internal_key), name="queue pump"),
            asyncio.create_task(self._schedule(internal_key), name="scheduler"),
        ]
        probes = [
            *self.world.probes,
            ("dispatcher", f"{self.url}/health"),
            ("runner", f"http://127.0.0.1:{runner_port}/health"),
        ]
        await asyncio.gather(*(answers(self._children[name], url) for name, url in probes))
        if self.world.forge_url:
            note_forge(self.data, self.world.forge_url)
        self.sandbox = await _sandbox_words(f"http://127.0.0.1:{runner_port}/status")
        self._tasks.append(asyncio.create_task(self._watch(), name="watch"))

    def _programs(self, runner_port: int) -> list[Child]:
        assert self.world is not None
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        runner_url = f"http://127.0.0.1:{runner_port}"
        local = {"LEASE_SECONDS": "15", "HEARTBEAT_SECONDS": "2", "RECORD_CASSETTES": "true"}
        dispatcher = {
            **inherited,
            **local,
            **{name: self.given[name] for name in names(DispatcherSettings) if name in self.given},
            **self.world.settings,
            "PORT": str(self.port),
            "PUBLIC_URL": self.url,
            "DATA_DIR": str(self.data),
            "CLAUDE_CLOUD_RUN_URL": runner_url,
        }
        runner = {
            **inherited,
            "RUNNER_CONCURRENCY": "4",
            **{name: self.given[name] for name in names(RunnerSettings) if name in self.given},
            "PORT": str(runner_port),
            "WORK_DIR": str(self.data),
        }
        framework = [
            sys.executable,
            "-m",
            "functions_framework",
            "--target",
            "dispatch",
            "--source",
            _source("dispatcher.main"),
        ]
        listen = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [
            *self.world.children(inherited),
            Child("dispatcher", [*framework, *listen], dispatcher, self._log("dispatcher")),
            Child("runner", [sys.executable, "-m", "runner.service"], runner, self._log("runner")),
        ]

    def _log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    async def _first_key(self) -> str:
        """Makes the first admin key where there is none yet."""
        store = SqliteDocuments.open(self.data / "state.db", system_clock)
        try:
            keys = ApiKeys(store)
            if await keys.any():
                return ""
            text, record = new_api_key(
                name="admin", permission=Permission.ADMIN, now=system_clock(), entropy=os.urandom
            )
            await keys.add(record)
            return text
        finally:
            await store.close()

    async def _pump(self, key: bytes) -> None:
        def sign(audience: str) -> str:
            return identity.issue(key, audience=audience, now=system_clock())

        pump = QueuePump(
            self.data / "queue.db",
            system_clock,
            sign=sign,
            policy=RetryPolicy(min_backoff_seconds=0.5, max_backoff_seconds=10.0),
        )
        await pump.run(self._stop)

    async def _schedule(self, key: bytes) -> None:
        """What Cloud Scheduler does in the cloud: ticks that make the dispatcher sweep, and look for deliveries that it missed."""
        paths = itertools.cycle((*["sweep"] * RECONCILE_EVERY, "reconcile-deliveries"))
        async with httpx.AsyncClient(timeout=30.0, trust_env=False) as http:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), SWEEP_SECONDS)
                    return
                token = identity.issue(key, audience=self.url, now=system_clock())
                with contextlib.suppress(httpx.TransportError):
                    await http.post(f"{self.url}/internal/{next(paths)}", headers={"authorization": f"Bearer {token}"})

    async def _watch(self) -> None:
        """Starts again what dies, as Cloud Run would."""
        while not self._stop.is_set():
            for child in self._children.values():
                if not child.running and not self._stop.is_set():
                    self.on_restart(child.name)
                    await child.start()
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Everything is gone when this returns."""
        self._stop.set()
        forget_forge(self.data)
        for task in self._tasks:
            if task.get_name() == "watch":
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(child.stop() for child in self._children.values()))


async def _ensure(store: FileSecrets, name: str) -> bytes:
    """The secret, made at first use."""
    existing = await store.get(name)
    if existing is not None:
        return existing.value
    value = secrets.token_hex(32).encode()
    await store.put(name, value)
    return value


async def _sandbox_words(status_url: str) -> str:
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
        sandbox = (await http.get(status_url)).raise_for_status().json()["sandbox"]
    up = ", ".join(wall["name"] for wall in sandbox["walls"] if wall["up"])
    missing = ", ".join(wall["name"] for wall in sandbox["walls"] if not wall["up"])
    line = f"{sandbox['driver']}; walls up: {up}"
    return f"{line}; MISSING: {missing}. {sandbox['note']}".rstrip() if missing else line


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise PullwrightError(f"{module} is not installed.", hint="Run: make")
    return spec.origin
