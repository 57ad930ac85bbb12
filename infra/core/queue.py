"""The queue port: Cloud Tasks' promises, no more.

At least once, in no order, later rather than never. A 2xx answer ends a task; 429 and 503 slow the queue down and
honour ``Retry-After``; everything else is tried again with growing pauses until ``max_attempts``. A name can be used
once: the second creation of the same name is refused for as long as the back end remembers it (≥ 1 h).
https://cloud.google.com/tasks/docs/common-pitfalls
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from infra.core.clock import DAY, Instant
from infra.core.errors import Invalid

MIN_DEADLINE_SECONDS = 15
MAX_DEADLINE_SECONDS = 1800
"""An HTTP attempt lives 15 s to 30 min (google.cloud.tasks_v2 Task.dispatch_deadline)."""

MAX_TASK_BYTES = 100_000
"""Cloud Tasks allows 1 MB (older texts: 100 KB). Tasks carry ids, not payloads, so the smaller figure is our limit."""

MAX_URL_CHARACTERS = 2083
MAX_AHEAD = 30 * DAY
"""Furthest ``schedule_at`` from now, in milliseconds. https://cloud.google.com/tasks/docs/quotas"""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,500}")
_URL = re.compile(r"https?://[\x21-\x7e]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
_OWN_HEADERS = frozenset({"authorization", "connection", "content-length", "host", "transfer-encoding", "user-agent"})
_OWN_PREFIXES = ("x-cloudtasks-", "x-google-", "x-appengine-")


@dataclass(frozen=True, slots=True)
class Task:
    """One HTTP POST to be made. ``name`` is the key for de-duplication: letters, digits, dashes, underscores, ≤ 500.

    ``audience``: whom the identity token that accompanies the request is for; empty means the URL's origin.
    """

    name: str
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    schedule_at: Instant | None = None
    deadline_seconds: int = 600
    audience: str = ""

    @property
    def token_audience(self) -> str:
        """``audience``, or the URL's origin where it is empty."""
        parts = urlsplit(self.url)
        return self.audience or f"{parts.scheme}://{parts.netloc}"


def check_task(task: Task, now: Instant) -> Task:
    """The task, unchanged, when every back end can take it; raises ``Invalid`` with the part that does not fit.

    Headers that Cloud Tasks sets itself are refused, because it would replace them silently.
    https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#HttpRequest
    """
    check_task_name(task.name)
    if not MIN_DEADLINE_SECONDS <= task.deadline_seconds <= MAX_DEADLINE_SECONDS:
        raise Invalid(
            f"A task cannot have a deadline of {task.deadline_seconds} s.",
            code="invalid_task_deadline",
            hint=f"Use {MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS} s; longer work runs as a job.",
        )
    if task.schedule_at is not None and task.schedule_at - now > MAX_AHEAD:
        raise Invalid("A task can be scheduled at most 30 days ahead.", code="invalid_task_schedule")
    _check_url(task.url)
    _check_headers(task.headers)
    if task.audience and _HEADER_VALUE.fullmatch(task.audience) is None:
        raise Invalid("A task's audience is printable ASCII.", code="invalid_task_audience")
    if task_bytes(task) > MAX_TASK_BYTES:
        raise Invalid(
            f"The task has {task_bytes(task)} bytes; {MAX_TASK_BYTES} are allowed.",
            code="task_too_large",
            hint="Put the payload into a document or the bucket and send its id.",
        )
    return task


def check_task_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            f"{name[:80]!r} is not a task name.",
            code="invalid_task_name",
            hint="Letters, digits, dashes and underscores, at most 500.",
        )
    return name


def task_bytes(task: Task) -> int:
    """What counts against ``MAX_TASK_BYTES``: URL, headers and body."""
    return len(task.url) + len(task.body) + sum(len(name) + len(value) for name, value in task.headers.items())


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        usable = False
    if not usable or _URL.fullmatch(url) is None or len(url) > MAX_URL_CHARACTERS:
        raise Invalid(
            "A task needs an http or https URL without credentials in it.",
            code="invalid_task_url",
            hint=f"At most {MAX_URL_CHARACTERS} printable ASCII characters.",
        )


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
            raise Invalid(f"The header {name[:80]!r} cannot be sent.", code="invalid_task_header")
        if name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES):
            raise Invalid(f"The header {name!r} is set by the queue itself.", code="invalid_task_header")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses double from ``min_backoff_seconds`` to ``max_backoff_seconds``; after ``max_attempts`` the task is dropped."""

    max_attempts: int = 10
    min_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 60.0
    max_concurrent: int = 10
    max_per_second: float = 50.0


class Queue(Protocol):
    async def create(self, task: Task) -> bool:
        """True when accepted, False when that name is already known (which is success for the caller).

        Raises ``Invalid`` for a bad name, deadline or size, ``Unavailable`` when the queue did not take it.
        """
        ...

    async def close(self) -> None: ...
