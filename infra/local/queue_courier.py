"""One attempt over HTTP, made to look as Cloud Tasks makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from infra.core.errors import PullwrightError
from infra.core.queue import RetryPolicy
from infra.local.queue_rules import Answer, retry_after_seconds
from infra.local.queue_table import Lease

Sign = Callable[[str], str]
"""``sign(audience)`` gives the bearer token that proves who calls: the twin of Cloud Tasks' OIDC token."""

_READ_BYTES = 65_536
# Shorter than the 5 s after which uvicorn hangs up: a connection closed just as it is used again would cost an attempt.
_KEEPALIVE_SECONDS = 2.0


def courier_client(policy: RetryPolicy) -> httpx.AsyncClient:
    """No time-outs of its own, because the task's deadline is the limit; no redirects and no proxy from the environment,
    because a task goes to its URL or nowhere."""
    limits = httpx.Limits(max_connections=policy.max_concurrent, keepalive_expiry=_KEEPALIVE_SECONDS)
    return httpx.AsyncClient(timeout=None, limits=limits, follow_redirects=False, trust_env=False)  # noqa: S113 - as said


class Courier:
    """``sign`` may raise ``PullwrightError``: then the attempt has failed like any other."""

    def __init__(self, client: httpx.AsyncClient, *, sign: Sign, queue_name: str) -> None:
        self._client = client
        self._sign = sign
        self._queue_name = queue_name

    async def deliver(self, lease: Lease) -> Answer:
        """Posts the task; what goes wrong is part of the answer. Past the deadline the request is broken off."""
        try:
            async with asyncio.timeout(lease.deadline_seconds):
                return await self._post(lease)
        except TimeoutError:
            return Answer(None, problem=f"no answer within {lease.deadline_seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, problem=f"{type(error).__name__}: {error}"[:300])
        except PullwrightError as error:
            return Answer(None, problem=f"no identity token: {error.message}")

    async def _post(self, lease: Lease) -> Answer:
        headers = self._headers(lease)
        async with self._client.stream("POST", lease.task.url, content=lease.task.body, headers=headers) as response:
            read = 0
            async for piece in response.aiter_raw():  # to its end, so that the connection can be used again
                read += len(piece)
                if read > _READ_BYTES:
                    break
            return Answer(response.status_code, retry_after_seconds(response.headers.get("retry-after", "")))

    def _headers(self, lease: Lease) -> httpx.Headers:
        """https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler"""
        headers = httpx.Headers({"Content-Type": "application/octet-stream"})
        headers.update(lease.task.headers)
        headers.update(
            {
                "User-Agent": "Google-Cloud-Tasks",
                "Authorization": f"Bearer {self._sign(lease.task.token_audience)}",
                "X-CloudTasks-QueueName": self._queue_name,
                "X-CloudTasks-TaskName": lease.task.name,
                "X-CloudTasks-TaskRetryCount": str(lease.attempt - 1),
                "X-CloudTasks-TaskExecutionCount": str(lease.executions),
                "X-CloudTasks-TaskETA": f"{lease.eta / 1000:.6f}",
            }
        )
        if lease.last_status is not None:
            headers["X-CloudTasks-TaskPreviousResponse"] = str(lease.last_status)
        return headers
