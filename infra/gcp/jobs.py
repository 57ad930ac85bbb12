"""Job executions on Cloud Run: one per run, in the job of its size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.api_core import exceptions as google
from google.cloud.run_v2 import EnvVar, ExecutionsAsyncClient, JobsAsyncClient, RunJobRequest
from google.cloud.run_v2 import Execution as CloudExecution
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # the stubs are a package that nothing else needs

from infra.core.errors import Unavailable
from infra.core.execution import Execution, ExecutionState, ResourceClass
from infra.gcp.clients import TIMEOUT_SECONDS, careful, close, connect, patient
from infra.gcp.errors import Service, errors

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_HOST = "run.googleapis.com"


class CloudRunExecutions:
    """The ``Executions`` port. The job of size 2x4 is called ``PREFIX-2x4``.

    The program's own identity needs roles/run.jobsExecutorWithOverrides and roles/run.viewer on each job.
    """

    def __init__(
        self,
        *,
        project: str,
        region: str,
        prefix: str,
        endpoint: str = _HOST,
        credentials: Credentials | None = None,
    ) -> None:
        self._jobs = f"projects/{project}/locations/{region}/jobs/{prefix}"
        self._endpoint = endpoint
        self._credentials = credentials
        self._jobs_client: JobsAsyncClient | None = None
        self._executions_client: ExecutionsAsyncClient | None = None

    async def start(self, size: ResourceClass, environment: Mapping[str, str], timeout_seconds: int) -> str:
        job = f"{self._jobs}-{size}"
        variables = [EnvVar(name=name, value=value) for name, value in environment.items()]
        overrides = RunJobRequest.Overrides(
            container_overrides=[RunJobRequest.Overrides.ContainerOverride(env=variables)],
            task_count=1,
            timeout=Duration(seconds=timeout_seconds),
        )
        request = RunJobRequest(name=job, overrides=overrides)
        with errors(_service("run.jobs.runWithOverrides", job)):
            operation = await self._starter.run_job(request, retry=careful(), timeout=TIMEOUT_SECONDS)
        # the operation ends with the execution, hours later; its metadata is the execution, from the beginning
        name = operation.metadata.name
        if not name:
            raise Unavailable(f"Cloud Run did not name the execution of {job}.", code="google_unavailable")
        return str(name)

    async def describe(self, name: str) -> Execution | None:
        with errors(_service("run.executions.get", name)):
            try:
                found = await self._watcher.get_execution(name=name, retry=patient(), timeout=TIMEOUT_SECONDS)
            except google.NotFound:
                return None
        return Execution(name=name, state=_state(found), reason=_reason(found))

    async def cancel(self, name: str) -> None:
        with errors(_service("run.executions.cancel", name)):
            try:
                await self._watcher.cancel_execution(name=name, retry=patient(), timeout=TIMEOUT_SECONDS)
            except (google.NotFound, google.FailedPrecondition):  # gone, or it has ended by itself
                return

    async def close(self) -> None:
        await close(self._jobs_client)
        await close(self._executions_client)

    @property
    def _starter(self) -> JobsAsyncClient:
        if self._jobs_client is None:
            self._jobs_client = connect(JobsAsyncClient, self._endpoint, self._credentials)
        return self._jobs_client

    @property
    def _watcher(self) -> ExecutionsAsyncClient:
        if self._executions_client is None:
            self._executions_client = connect(ExecutionsAsyncClient, self._endpoint, self._credentials)
        return self._executions_client


def _service(permission: str, path: str) -> Service:
    kind, name = path.split("/")[-2:]
    return Service("Cloud Run", _HOST, permission, f"the {kind.removesuffix('s')} {name}")


def _state(found: CloudExecution) -> ExecutionState:
    if not found.completion_time:
        return ExecutionState.RUNNING if found.running_count else ExecutionState.PENDING
    if found.cancelled_count:
        return ExecutionState.CANCELLED
    return ExecutionState.FAILED if found.failed_count else ExecutionState.SUCCEEDED


def _reason(found: CloudExecution) -> str:
    return next((condition.message for condition in found.conditions if condition.type_ == "Completed"), "")
