"""The queue on Cloud Tasks: named tasks with identity tokens.

A run's request stays open for as long as the run (up to 30 min), so runs have a queue of their own, whose concurrency is
the number of runner instances; what goes to the dispatcher itself is short and must never wait behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core import exceptions as google
from google.cloud.tasks_v2 import CloudTasksAsyncClient, HttpMethod, HttpRequest, OidcToken
from google.cloud.tasks_v2 import Task as CloudTask
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # the stubs are a package that nothing else needs
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # the same

from infra.core.clock import Clock
from infra.core.queue import Task, check_task
from infra.gcp.clients import TIMEOUT_SECONDS, close, connect, patient
from infra.gcp.errors import Service, errors

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_HOST = "cloudtasks.googleapis.com"


class CloudTasksQueue:
    """The ``Queue`` port. ``queue`` and ``own_queue`` are names in ``region``; tasks for ``own_url`` go to the latter.

    ``service_account``: e-mail of the identity whose tokens accompany the tasks. The program's own identity needs
    roles/cloudtasks.enqueuer on both queues and roles/iam.serviceAccountUser on that service account.
    """

    def __init__(
        self,
        *,
        project: str,
        region: str,
        queue: str,
        own_queue: str,
        own_url: str,
        service_account: str,
        clock: Clock,
        endpoint: str = _HOST,
        credentials: Credentials | None = None,
    ) -> None:
        self._queues = f"projects/{project}/locations/{region}/queues"
        self._queue = queue
        self._own_queue = own_queue
        self._own_prefix = f"{own_url.rstrip('/')}/"
        self._service_account = service_account
        self._clock = clock
        self._endpoint = endpoint
        self._credentials = credentials
        self._connected: CloudTasksAsyncClient | None = None

    async def create(self, task: Task) -> bool:
        check_task(task, self._clock())
        queue = self._own_queue if task.url.startswith(self._own_prefix) else self._queue
        parent = f"{self._queues}/{queue}"
        service = Service("Cloud Tasks", _HOST, "cloudtasks.tasks.create", f"the queue {queue}")
        with errors(service):
            try:
                # named, so that a creation whose answer was lost can be repeated
                await self._client.create_task(
                    parent=parent, task=self._message(parent, task), retry=patient(), timeout=TIMEOUT_SECONDS
                )
            except google.Conflict:
                return False
        return True

    async def close(self) -> None:
        await close(self._connected)

    @property
    def _client(self) -> CloudTasksAsyncClient:
        if self._connected is None:
            self._connected = connect(CloudTasksAsyncClient, self._endpoint, self._credentials)
        return self._connected

    def _message(self, parent: str, task: Task) -> CloudTask:
        request = HttpRequest(
            url=task.url,
            http_method=HttpMethod.POST,
            headers=dict(task.headers),
            body=task.body,
            oidc_token=OidcToken(service_account_email=self._service_account, audience=task.token_audience),
        )
        message = CloudTask(
            name=f"{parent}/tasks/{task.name}",
            http_request=request,
            dispatch_deadline=Duration(seconds=task.deadline_seconds),
        )
        if task.schedule_at is not None:
            seconds, rest = divmod(task.schedule_at, 1000)
            message.schedule_time = Timestamp(seconds=seconds, nanos=rest * 1_000_000)
        return message
