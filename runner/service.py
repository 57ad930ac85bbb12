"""The runner as a Cloud Run service: one request is one run, held open until the run is over.

Every ending of a run – also a failed one – answers 200, because the run is settled and the task must not come again.
503 says "no room here, try later".
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.core.errors import Forbidden, NotFound, PullwrightError, Unauthenticated, Unavailable
from infra.logs import configure
from infra.settings import RunnerSettings, load
from infra.wire import ProcessIssue
from runner.ending import Ending
from runner.execute import execute
from runner.wiring import Tools, Verify, callers, connect, keep_only_needed

MAX_BODY = 64 * 1024

_log = logging.getLogger("runner")


@dataclass(slots=True)
class Service:
    """What this instance is doing. ``started``: monotonic seconds; ``verify`` raises for callers that may not call."""

    settings: RunnerSettings
    tools: Tools
    started: float
    verify: Verify | None = None
    active: dict[ProcessIssue, asyncio.Task[Ending]] = field(default_factory=dict)
    served: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def system(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(
            {
                "name": "claude-code-runner",
                "version": version("pullwright"),
                "endpoints": ["GET /health", "GET /status", "POST /process-issue"],
            }
        )

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """Alive, and how: resident memory in MiB, CPU seconds used, seconds up."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return JSONResponse(
            {
                "status": "ok",
                "version": version("pullwright"),
                "container_id": self.tools.container_id,
                "uptime_seconds": round(time.monotonic() - self.started, 1),
                "memory_mib": round(_resident_bytes() / 2**20, 1),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
                "environment": self.settings.environment,
            }
        )

    async def status(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(
            {
                "active": sorted({job.run_id for job in self.active}),
                "capacity": self.settings.runner_concurrency,
                "served": self.served,
                "single_use": self.settings.runner_single_use,
                "sandbox": self.tools.walls(),
            }
        )

    async def process_issue(self, request: Request) -> Response:
        try:
            if self.verify is not None:
                await self.verify(_bearer(request))
        except Unauthenticated as error:
            return _error(401, error.code, error.message)
        except PullwrightError as error:
            return _error(503, error.code, error.message)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY:
                return _error(413, "too_large", "The body is too large.")
        try:
            job = msgspec.json.decode(body, type=ProcessIssue)
        except (msgspec.MsgspecError, ValueError) as error:
            return _error(422, "invalid_body", f"The body does not fit: {error}.")
        if job not in self.active and (len(self.active) >= self.settings.runner_concurrency or self.stop.is_set()):
            return _error(503, "no_capacity", "This instance is busy.", {"retry-after": "2"})
        try:
            ending = await self._work(job)
        except (Unauthenticated, Forbidden, NotFound) as error:
            # trying again would change nothing, so the task is over: a 4xx would only be sent again
            _log.warning("task refused: %s", error.message, extra={"run_id": job.run_id})
            ending = Ending(run_id=job.run_id, state=None, message=error.message)
        except PullwrightError as error:
            # the lease runs out and the sweeper launches the run anew; until then a repeated task finds it held
            return _error(503, error.code, error.message)
        return JSONResponse(msgspec.to_builtins(ending))

    async def _work(self, job: ProcessIssue) -> Ending:
        """The run goes on even if the caller hangs up: its lease, not the connection, says who owns it.

        A task that comes again joins the work on it. One of another launch does not: what it would join may just be learning
        that it is out of date, and then nobody would work on the newer launch.
        """
        task = self.active.get(job)
        if task is None:
            task = asyncio.create_task(execute(job, self.tools), name=job.run_id)
            self.active[job] = task
            task.add_done_callback(lambda _: self._finished(job))
        await asyncio.wait({task})
        if task.cancelled():
            raise Unavailable("This instance stops and has handed the run back.", code="handed_back")
        return task.result()

    def _finished(self, job: ProcessIssue) -> None:
        self.active.pop(job, None)
        self.served += 1
        if self.settings.runner_single_use:
            self.stop.set()

    def stop_work(self) -> None:
        for task in self.active.values():
            if not task.cancelling():
                task.cancel()

    async def shut_down(self) -> None:
        """Stops what is running: agents die, leases are handed back, other instances go on."""
        self.stop.set()
        self.stop_work()
        await asyncio.gather(*self.active.values(), return_exceptions=True)


def build_app(service: Service) -> Starlette:
    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.shut_down()

    routes = [
        Route("/", service.system),
        Route("/health", service.health),
        Route("/status", service.status),
        Route("/process-issue", service.process_issue, methods=["POST"]),
        Route("/container/health", service.health),
        Route("/container/process", service.process_issue, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=life)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("This address needs an identity token.", code="missing_credentials")
    return token.strip()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body: dict[str, Any] = {"error": {"code": code, "message": message, "hint": "", "request_id": ""}}
    return JSONResponse(body, status_code=status, headers=headers)


class _Server(uvicorn.Server):
    """uvicorn waits for its requests before it says goodbye, and each of ours is a run: they must hear of SIGTERM at once,
    because Cloud Run gives ten seconds. https://cloud.google.com/run/docs/container-contract#instance-shutdown"""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._service.stop_work)
        super().handle_exit(sig, frame)


async def serve(settings: RunnerSettings) -> None:
    started = time.monotonic()
    verify = callers(settings)
    service = Service(settings=settings, tools=await connect(settings, host="service"), started=started, verify=verify)
    host = "127.0.0.1" if settings.environment == "development" else "0.0.0.0"  # noqa: S104 – in a container the platform is in front
    config = uvicorn.Config(
        build_app(service),
        host=host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=9,
        access_log=False,
    )
    server = _Server(config, service)
    running = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(service.stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await running
    stopping.cancel()


def main() -> None:
    try:
        settings = load(RunnerSettings)
        configure("runner", settings.effective_log_level)
        keep_only_needed(os.environ)
        asyncio.run(serve(settings))
    except PullwrightError as error:
        sys.exit(f"{error.message} {error.hint}")


if __name__ == "__main__":
    main()
