"""Cloud Tasks on Google's own message classes: queues that really deliver, with identity tokens, pace and retries."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from google.api_core import exceptions as google
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import rest_base
from google.cloud.tasks_v2.services.cloud_tasks.transports.grpc_asyncio import CloudTasksGrpcAsyncIOTransport

from tests.world.google_api import Api
from tests.world.google_identity import Identities, Roles

_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/queues/[A-Za-z0-9-]{1,100}/tasks/[A-Za-z0-9_-]{1,500}")
_numbers = itertools.count(1)


@dataclass
class Pending:
    task: tasks_v2.Task
    due: float
    attempts: int = 0
    answered: int = 0
    last_status: int | None = None


@dataclass
class Queue:
    settings: tasks_v2.Queue
    pending: dict[str, Pending] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    tokens: float = 1.0
    filled_at: float = field(default_factory=time.monotonic)
    held_until: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> float:
        """0 when one may go now, else the seconds until then."""
        rate = self.settings.rate_limits.max_dispatches_per_second or 500
        now = time.monotonic()
        self.tokens = min(max(1.0, rate / 5), self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / rate


class CloudTasks:
    """``duplicates``: how many of the next deliveries are made twice at once, as Cloud Tasks sometimes does."""

    def __init__(self, identities: Identities, roles: Roles) -> None:
        self.queues: dict[str, Queue] = {}
        self.duplicates = 0
        self.deliveries: list[tuple[str, int | None]] = []
        self._identities = identities
        self._roles = roles
        self._running: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(trust_env=False, verify=False)
        self.api = Api(self, CloudTasksGrpcAsyncIOTransport, rest_base)

    async def close(self) -> None:
        for running in list(self._running):
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._http.aclose()

    # methods of the API

    async def create_queue(self, request: tasks_v2.CreateQueueRequest, caller: str) -> tasks_v2.Queue:
        return self.add_queue(request.queue)

    async def get_queue(self, request: tasks_v2.GetQueueRequest, caller: str) -> tasks_v2.Queue:
        self._roles.check(caller, "cloudtasks.queues.get", request.name)
        return self._queue(request.name).settings

    async def list_queues(self, request: tasks_v2.ListQueuesRequest, caller: str) -> tasks_v2.ListQueuesResponse:
        found = [queue.settings for name, queue in self.queues.items() if name.startswith(f"{request.parent}/")]
        return tasks_v2.ListQueuesResponse(queues=found)

    async def pause_queue(self, request: tasks_v2.PauseQueueRequest, caller: str) -> tasks_v2.Queue:
        self._queue(request.name).settings.state = tasks_v2.Queue.State.PAUSED
        return self._queue(request.name).settings

    async def resume_queue(self, request: tasks_v2.ResumeQueueRequest, caller: str) -> tasks_v2.Queue:
        queue = self._queue(request.name)
        queue.settings.state = tasks_v2.Queue.State.RUNNING
        queue.news.set()
        return queue.settings

    async def list_tasks(self, request: tasks_v2.ListTasksRequest, caller: str) -> tasks_v2.ListTasksResponse:
        return tasks_v2.ListTasksResponse(tasks=[item.task for item in self._queue(request.parent).pending.values()])

    async def create_task(self, request: tasks_v2.CreateTaskRequest, caller: str) -> tasks_v2.Task:
        self._roles.check(caller, "cloudtasks.tasks.create", request.parent)
        task = request.task
        token_email = task.http_request.oidc_token.service_account_email
        if token_email and not self._roles.has(caller, "iam.serviceAccounts.actAs"):
            raise google.PermissionDenied(
                f'The principal (user or service account) lacks IAM permission "iam.serviceAccounts.actAs" '
                f'for the resource "{token_email}" (or the resource may not exist).'
            )
        queue = self._queue(request.parent)
        self._check(request.parent, task)
        if not task.name:
            task.name = f"{request.parent}/tasks/{next(_numbers)}"
        if task.name in queue.known:
            raise google.AlreadyExists("Requested entity already exists")
        queue.known.add(task.name)
        if not task.dispatch_deadline:
            task.dispatch_deadline = timedelta(minutes=10)
        due = max(task.schedule_time.timestamp() if task.schedule_time else 0.0, time.time())
        task.schedule_time = datetime.fromtimestamp(due, UTC)
        task.create_time = datetime.now(UTC)
        queue.pending[task.name] = Pending(task, due)
        queue.news.set()
        return task

    # what tests do

    def add_queue(self, settings: tasks_v2.Queue) -> tasks_v2.Queue:
        settings.state = tasks_v2.Queue.State.RUNNING
        self.queues[settings.name] = queue = Queue(settings)
        self._spawn(self._pump(queue))
        return settings

    def named(self, end: str) -> Queue:
        return next(queue for name, queue in self.queues.items() if name.endswith(f"/{end}"))

    # delivery

    def _queue(self, name: str) -> Queue:
        if name not in self.queues:
            raise google.NotFound("Queue does not exist. If you just created the queue, wait at least a minute.")
        return self.queues[name]

    @staticmethod
    def _check(parent: str, task: tasks_v2.Task) -> None:
        request = task.http_request
        if task.name and not (_NAME.fullmatch(task.name) and task.name.startswith(f"{parent}/tasks/")):
            raise google.InvalidArgument("Task name is malformed.")
        if not request.url.startswith(("http://", "https://")) or len(request.url) > 2083:
            raise google.InvalidArgument("HttpRequest.url must be a full URL.")
        if len(type(task).pb(task).SerializeToString()) > 1_048_576:
            raise google.InvalidArgument("Task size too large. Task size must be less than 1MB.")
        if task.dispatch_deadline and not 15 <= task.dispatch_deadline.total_seconds() <= 1800:
            raise google.InvalidArgument("Task.dispatch_deadline must be between [15s, 30m].")
        if task.schedule_time and task.schedule_time.timestamp() > time.time() + 30 * 86400:
            raise google.InvalidArgument("The schedule time is too far in the future.")

    def _spawn(self, work: Any) -> None:
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _pump(self, queue: Queue) -> None:
        while True:
            wait = self._next(queue)
            queue.news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(queue.news.wait(), wait)

    def _next(self, queue: Queue) -> float | None:
        """Starts what may go now; the seconds until something may be due, None for "when there is news"."""
        limit = queue.settings.rate_limits.max_concurrent_dispatches or 1000
        while True:
            now = time.time()
            waiting = [p for name, p in queue.pending.items() if name not in queue.under_way]
            if not waiting or len(queue.under_way) >= limit or queue.settings.state != tasks_v2.Queue.State.RUNNING:
                return None
            first = min(waiting, key=lambda pending: pending.due)
            wait = max(first.due, queue.held_until) - now
            wait = wait if wait > 0 else queue.take()
            if wait > 0:
                return wait
            queue.under_way.add(first.task.name)
            copies = 2 if self.duplicates else 1
            self.duplicates = max(0, self.duplicates - 1)
            self._spawn(self._deliver(queue, first, copies))

    async def _deliver(self, queue: Queue, pending: Pending, copies: int) -> None:
        try:
            answers = await asyncio.gather(*(self._send(queue, pending) for _ in range(copies)))
            self._settle(queue, pending, *answers[0])
        finally:
            queue.under_way.discard(pending.task.name)
            queue.news.set()

    async def _send(self, queue: Queue, pending: Pending) -> tuple[int | None, str]:
        request = pending.task.http_request
        headers = {
            "user-agent": "Google-Cloud-Tasks",
            **dict(request.headers),
            "X-CloudTasks-QueueName": queue.settings.name.rpartition("/")[2],
            "X-CloudTasks-TaskName": pending.task.name.rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(pending.attempts),
            "X-CloudTasks-TaskExecutionCount": str(pending.answered),
            "X-CloudTasks-TaskETA": f"{pending.due:.6f}",
        }
        if pending.last_status is not None:
            headers["X-CloudTasks-TaskPreviousResponse"] = str(pending.last_status)
        if oidc := request.oidc_token:
            audience = oidc.audience or request.url
            token = self._identities.identity_token(oidc.service_account_email, audience)
            headers["authorization"] = f"Bearer {token}"
        deadline = pending.task.dispatch_deadline.total_seconds()
        try:
            response = await self._http.request(
                tasks_v2.HttpMethod(request.http_method or tasks_v2.HttpMethod.POST).name,
                request.url,
                content=request.body,
                headers=headers,
                timeout=deadline,
                follow_redirects=False,
            )
        except httpx.TransportError:
            return None, ""
        return response.status_code, response.headers.get("retry-after", "")

    def _settle(self, queue: Queue, pending: Pending, status: int | None, retry_after: str) -> None:
        name = pending.task.name
        self.deliveries.append((name.rpartition("/")[2], status))
        pending.attempts += 1
        if status is not None and status < 500:
            pending.answered += 1
        pending.last_status = status
        retry = queue.settings.retry_config
        if status is not None and 200 <= status < 300:
            del queue.pending[name]
            return
        if retry.max_attempts not in {0, -1} and pending.attempts >= retry.max_attempts:
            del queue.pending[name]
            queue.dropped.append(name)
            return
        shortest = retry.min_backoff.total_seconds() if retry.min_backoff else 0.1
        longest = retry.max_backoff.total_seconds() if retry.max_backoff else 3600.0
        pause = min(shortest * 2 ** (pending.attempts - 1), longest)
        if status in {429, 503} and retry_after.isdecimal():
            pause = max(pause, float(retry_after))
            queue.held_until = time.time() + pause
        pending.due = time.time() + pause
