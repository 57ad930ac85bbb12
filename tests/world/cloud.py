"""The whole product in cloud wiring on this machine: the programs with PLATFORM=google, Google's emulator of Firestore and
stand-ins of everything else of Google's, the local forge as GitHub and the scripted model. Nothing but endpoints differs from
a deployment; what Terraform would grant is granted, no more."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from google.cloud import tasks_v2
from starlette.applications import Starlette
from starlette.routing import Route

from infra.local.forge.server import Server
from infra.local.model.server import ScriptedModel
from infra.local.processes import free_port
from infra.local.rehearsal.catalogue import load_rehearsal
from infra.platform_secrets import ANTHROPIC_API_KEY, APP_PRIVATE_KEY, RUN_TOKEN_KEY, WEBHOOK_SECRET
from tests.world.forge import APP_ID, ForgeWorld, forge_world, key_pair
from tests.world.google_cloud import BUCKET, INVOKER, JOBS, PROJECT, REGION, GoogleCloud, google_cloud
from tests.world.google_front import Front
from tests.world.google_run import program
from tests.world.model import KEY, shipped_scripts
from tests.world.stack import BIN, program_environment

SECRET = b"a webhook secret"
QUICK_QUEUE = {
    "retry_config": tasks_v2.RetryConfig(
        max_attempts=100, min_backoff=timedelta(seconds=0.3), max_backoff=timedelta(seconds=2)
    )
}


class Cloud:
    """``dispatcher`` is a process that can be killed and started anew, also with other settings."""

    def __init__(self, folder: Path, google: GoogleCloud, github: ForgeWorld, settings: Mapping[str, str]) -> None:
        self.google = google
        self.github = github
        self.url = settings["PUBLIC_URL"]
        self.log = folder / "dispatcher.log"
        self.front: Front
        self.http = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=120)
        self._settings = dict(settings)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, **settings: str) -> None:
        self._settings |= settings
        source = importlib.util.find_spec("dispatcher.main")
        assert source is not None
        argv = [sys.executable, "-m", "functions_framework", "--target", "dispatch", "--source", str(source.origin)]
        argv += ["--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]]
        with self.log.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *argv, env=self._settings, stdout=sink, stderr=sink, start_new_session=True
            )
        async with asyncio.timeout(60):
            while not await self._healthy():
                assert self._process.returncode is None, self.said()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """As when its machine is lost."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def create_key(self) -> None:
        """With the operator's command; from then on ``http`` carries it."""
        made = await asyncio.create_subprocess_exec(
            BIN / "pullwright",
            *("keys", "create", "tests", "--permission", "admin", "--project", PROJECT),
            *("--database", self._settings["FIRESTORE_DATABASE"]),
            env=self._settings,
            cwd=self.log.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await made.communicate()
        assert made.returncode == 0, said.decode()
        key = re.search(r"pw_[0-9a-z]{12}_[0-9a-z]{32}", said.decode())
        assert key, said.decode()
        self.http.headers["authorization"] = f"Bearer {key[0]}"

    async def dispatch(self, task: str = "", *, prefer: str = "wait=90") -> httpx.Response:
        body = {
            "owner": "acme",
            "repo": "shop",
            "workflowId": "claude.yml",
            "inputs": {"action_type": "create-pr", "context": task or load_rehearsal().demo.context},
        }
        return await self.http.post("/api/workflows/dispatch", json=body, headers={"prefer": prefer})

    async def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"/api/runs/{run_id}")).raise_for_status().json()
        return found

    async def until(self, run_id: str, check: Any, seconds: float = 90, *, sweeping: bool = False) -> dict[str, Any]:
        """Polls until ``check(run)`` holds; the dispatcher may be down meanwhile. ``sweeping``: as Cloud Scheduler makes it."""
        run: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if sweeping:
                            await self.sweep()
                        run = await self.run(run_id)
                        if check(run):
                            return run
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{run}\n{self.said()}") from None

    async def ended(self, run_id: str, *, sweeping: bool = False) -> dict[str, Any]:
        return await self.until(run_id, lambda run: run["finished_at"], sweeping=sweeping)

    async def internal(self, path: str, token: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers={"authorization": f"Bearer {token}", **headers})

    async def sweep(self) -> dict[str, Any]:
        """What Cloud Scheduler does every minute."""
        token = self.google.identities.identity_token(INVOKER, self.url)
        answer: dict[str, Any] = (await self.internal("/internal/sweep", token)).raise_for_status().json()
        return answer

    async def pulls(self) -> list[dict[str, Any]]:
        headers = {"authorization": f"Bearer {self.github.person}"}
        answer = await self.github.http.get(f"{self.github.path}/pulls?state=all", headers=headers)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def said(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in sorted(self.log.parent.glob("*.log"))
        )

    async def _healthy(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await self.http.get("/health")).status_code == 200
        return False


@asynccontextmanager
async def cloud_stack(folder: Path, emulator: str, *, pace: float = 0.0, **settings: str) -> AsyncIterator[Cloud]:
    """``pace``: seconds before each piece of the model's answers, for stories that need the agent to be at work."""
    async with AsyncExitStack() as stack:
        google = await stack.enter_async_context(google_cloud())
        demo = load_rehearsal().by_name[load_rehearsal().demo.repository]
        github = await stack.enter_async_context(forge_world(folder, files=demo.path))
        model = await stack.enter_async_context(ScriptedModel(shipped_scripts(), key=KEY, pace=pace))
        await _set_up(google)
        runner_url = f"http://127.0.0.1:{free_port()}"
        dispatcher = {
            **program_environment(),
            **google.endpoints(),
            **google.trust(),
            "FIRESTORE_EMULATOR_HOST": emulator,
            "PLATFORM": "google",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIRESTORE_DATABASE": f"db-{uuid.uuid4().hex[:12]}",
            "GOOGLE_CLOUD_REGION": REGION,
            "ARTIFACT_BUCKET": BUCKET,
            "INVOKER_SERVICE_ACCOUNT": INVOKER,
            "PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
            "CLAUDE_CLOUD_RUN_URL": runner_url,
            "GITHUB_API_URL": github.forge.api_url,
            "GITHUB_URL": github.forge.url,
            "GITHUB_APP_ID": str(APP_ID),
            "ANTHROPIC_BASE_URL": model.url,
            "REHEARSAL": "true",
            **settings,
        }
        google.add_queue("runs", **QUICK_QUEUE)
        google.add_queue("internal", **QUICK_QUEUE)
        cloud = Cloud(folder, google, github, dispatcher)
        runner = {
            **program_environment(),
            "PLATFORM": "google",
            "INVOKER_SERVICE_ACCOUNT": INVOKER,
            "INVOKER_IAM_CHECK": "true",
            "RUNNER_AUDIENCE": runner_url,
            "GOOGLE_CERTS_URL": google.endpoints()["GOOGLE_CERTS_URL"],
            "RUNNER_SINGLE_USE": "true",
            "WORK_DIR": str(folder / "work"),
        }
        python = [sys.executable, "-m"]
        google.run.jobs[f"{JOBS}/claude-code-runner-2x4"] = program(
            [*python, "runner.job"], folder / "job.log", **runner
        )
        cloud.front = Front(
            google.identities,
            google.roles,
            [*python, "runner.service"],
            runner,
            folder / "runner.log",
            audience=runner_url,
        )
        verbs = ["GET", "POST"]
        server = Server(
            Starlette(routes=[Route("/{path:path}", cloud.front.handle, methods=verbs)]),
            port=int(runner_url.rpartition(":")[2]),
        )
        await server.start()
        stack.push_async_callback(cloud.http.aclose)
        stack.push_async_callback(server.stop)
        stack.push_async_callback(cloud.front.close)
        stack.push_async_callback(cloud.kill)
        await cloud.start()
        await cloud.create_key()
        yield cloud


async def _set_up(google: GoogleCloud) -> None:
    google.roles.grant(INVOKER, "roles/run.invoker")
    for name, value in {
        RUN_TOKEN_KEY: secrets.token_bytes(48),
        WEBHOOK_SECRET: SECRET,
        APP_PRIVATE_KEY: key_pair().private.encode(),
        ANTHROPIC_API_KEY: KEY.encode(),
    }.items():
        await google.put_secret(name, value)
