"""The queue port: Cloud Tasks' promises, no more.

At least once, in no order, later rather than never. A 2xx answer ends a task; 429 and 503 slow the queue down and
honour ``Retry-After``; everything else is tried again with growing pauses until ``max_attempts``. A name can be used
once: the second creation of the same name is refused for as long as the back end remembers it (≥ 1 h).
https://cloud.google.com/tasks/docs/common-pitfalls
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from infra.core.clock import Instant

MIN_DEADLINE_SECONDS = 15
MAX_DEADLINE_SECONDS = 1800
"""An HTTP attempt lives 15 s to 30 min (google.cloud.tasks_v2 Task.dispatch_deadline)."""

MAX_TASK_BYTES = 100_000
"""Cloud Tasks allows 1 MB (older texts: 100 KB). Tasks carry ids, not payloads, so the smaller figure is our limit."""


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
