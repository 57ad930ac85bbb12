"""Cloud Run's jobs and executions on Google's own message classes; an execution is a process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.api_core import exceptions as google
from google.cloud import run_v2
from google.cloud.run_v2.services.executions.transports import rest_base as executions_rest
from google.cloud.run_v2.services.executions.transports.grpc_asyncio import ExecutionsGrpcAsyncIOTransport
from google.cloud.run_v2.services.jobs.transports import rest_base as jobs_rest
from google.cloud.run_v2.services.jobs.transports.grpc_asyncio import JobsGrpcAsyncIOTransport
from google.longrunning import operations_pb2

from tests.world.google_api import Api
from tests.world.google_identity import Roles

_TERM_SECONDS = 10.0


@dataclass
class Program:
    """What a job's image would start: ``argv`` and the variables of the job's template."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path


@dataclass
class Started:
    execution: run_v2.Execution
    environment: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    watching: asyncio.Task[None] | None = None
    cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class CloudRun:
    def __init__(self, roles: Roles) -> None:
        self.jobs: dict[str, Program] = {}
        self.started: dict[str, Started] = {}
        self._roles = roles
        self.apis = [
            Api(self, JobsGrpcAsyncIOTransport, jobs_rest),
            Api(self, ExecutionsGrpcAsyncIOTransport, executions_rest),
        ]

    @property
    def jobs_api(self) -> Api:
        return self.apis[0]

    @property
    def executions_api(self) -> Api:
        return self.apis[1]

    async def close(self) -> None:
        for started in self.started.values():
            if started.process is not None and started.process.returncode is None:
                _signal(started.process.pid, signal.SIGKILL)
        await asyncio.gather(*(s.watching for s in self.started.values() if s.watching), return_exceptions=True)

    # methods of the API

    async def get_job(self, request: run_v2.GetJobRequest, caller: str) -> run_v2.Job:
        self._roles.check(caller, "run.jobs.get", request.name)
        if request.name not in self.jobs:
            raise google.NotFound(f"Resource '{request.name.rpartition('/')[2]}' of kind 'JOB' does not exist.")
        return run_v2.Job(name=request.name)

    async def run_job(self, request: run_v2.RunJobRequest, caller: str) -> operations_pb2.Operation:
        self._roles.check(caller, "run.jobs.run", request.name)
        overrides = request.overrides
        if overrides:
            self._roles.check(caller, "run.jobs.runWithOverrides", request.name)
        program = self.jobs.get(request.name)
        if program is None:
            raise google.NotFound(f"Resource '{request.name.rpartition('/')[2]}' of kind 'JOB' does not exist.")
        variables = {item.name: item.value for override in overrides.container_overrides for item in override.env}
        if any(len(value) > 32768 for value in variables.values()):
            raise google.InvalidArgument("The value of an environment variable is limited to 32 KiB.")
        name = f"{request.name}/executions/{request.name.rpartition('/')[2]}-{len(self.started):05x}"
        execution = run_v2.Execution(name=name, job=request.name, task_count=overrides.task_count or 1)
        execution.create_time = datetime.now(UTC)
        started = Started(execution, {**program.environment, **variables})
        self.started[name] = started
        seconds = overrides.timeout.total_seconds() if overrides.timeout else 600.0
        started.watching = asyncio.create_task(self._run(program, started, seconds))
        operation = operations_pb2.Operation(
            name=f"{request.name.partition('/jobs/')[0]}/operations/{len(self.started)}"
        )
        operation.metadata.Pack(run_v2.Execution.pb(execution))
        return operation

    async def get_execution(self, request: run_v2.GetExecutionRequest, caller: str) -> run_v2.Execution:
        self._roles.check(caller, "run.executions.get", request.name)
        return self._find(request.name).execution

    async def list_executions(
        self, request: run_v2.ListExecutionsRequest, caller: str
    ) -> run_v2.ListExecutionsResponse:
        found = [s.execution for name, s in self.started.items() if name.startswith(f"{request.parent}/")]
        return run_v2.ListExecutionsResponse(executions=found)

    async def cancel_execution(self, request: run_v2.CancelExecutionRequest, caller: str) -> operations_pb2.Operation:
        self._roles.check(caller, "run.executions.cancel", request.name)
        started = self._find(request.name)
        if started.ended.is_set():
            raise google.FailedPrecondition("The execution has already completed.")
        started.cancelled = True
        if started.process is not None:
            asyncio.get_running_loop().create_task(_stop(started.process))
        operation = operations_pb2.Operation(name=f"{request.name}/operations/cancel")
        operation.metadata.Pack(run_v2.Execution.pb(started.execution))
        return operation

    # processes

    def _find(self, name: str) -> Started:
        if name not in self.started:
            raise google.NotFound(f"Resource '{name.rpartition('/')[2]}' of kind 'EXECUTION' does not exist.")
        return self.started[name]

    async def _run(self, program: Program, started: Started, seconds: float) -> None:
        execution = started.execution
        environment = {
            **started.environment,
            "CLOUD_RUN_JOB": execution.job.rpartition("/")[2],
            "CLOUD_RUN_EXECUTION": execution.name.rpartition("/")[2],
            "CLOUD_RUN_TASK_INDEX": "0",
            "CLOUD_RUN_TASK_COUNT": "1",
            "CLOUD_RUN_TASK_ATTEMPT": "0",
        }
        with program.log.open("ab") as sink:
            started.process = await asyncio.create_subprocess_exec(
                *program.argv, env=environment, stdout=sink, stderr=sink, start_new_session=True
            )
        execution.running_count = 1
        execution.start_time = datetime.now(UTC)
        try:
            await asyncio.wait_for(started.process.wait(), seconds)
        except TimeoutError:
            await _stop(started.process)
        self._finish(started)

    @staticmethod
    def _finish(started: Started) -> None:
        execution, code = started.execution, started.process.returncode if started.process else 1
        execution.running_count = 0
        execution.completion_time = datetime.now(UTC)
        if started.cancelled:
            execution.cancelled_count, words = 1, "Execution was cancelled."
        elif code:
            execution.failed_count, words = 1, f"Task failed with exit code {code}."
        else:
            execution.succeeded_count, words = 1, "Execution completed successfully."
        state = run_v2.Condition.State.CONDITION_SUCCEEDED if not code else run_v2.Condition.State.CONDITION_FAILED
        execution.conditions = [run_v2.Condition(type_="Completed", state=state, message=words)]
        started.ended.set()


async def _stop(process: asyncio.subprocess.Process) -> None:
    _signal(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _TERM_SECONDS)
    _signal(process.pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def program(argv: Sequence[str], log: Path, **environment: Any) -> Program:
    return Program(argv, {name: str(value) for name, value in environment.items()}, log)
