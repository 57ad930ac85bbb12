"""What an answer means for a task: pure, so the whole policy can be read and tested in one place."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import SECOND, Instant, later
from infra.core.queue import RetryPolicy

MAX_RETRY_AFTER_SECONDS = 600.0
"""A slip in somebody's ``Retry-After`` must not stop the queue for a day."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one attempt. ``status`` is None when nothing did; then ``problem`` says why."""

    status: int | None
    retry_after: float = 0.0
    problem: str = ""

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_pushback(self) -> bool:
        """The receiver asks for less, so the whole queue slows down."""
        return self.status in {429, 503}

    @property
    def counts_as_execution(self) -> bool:
        """X-CloudTasks-TaskExecutionCount leaves out 5xx. https://cloud.google.com/tasks/docs/creating-http-target-tasks"""
        return self.status is not None and self.status < 500


@dataclass(frozen=True, slots=True)
class Finished:
    """The task is done; only its name is remembered."""


@dataclass(frozen=True, slots=True)
class Again:
    due_at: Instant


@dataclass(frozen=True, slots=True)
class Buried:
    """The task goes to the dead letters."""

    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The attempt does not count: the pump was stopped."""


Verdict = Finished | Again | Buried | Returned


def judge(answer: Answer, attempt: int, policy: RetryPolicy, now: Instant) -> Verdict:
    """``attempt`` counts from 1."""
    if answer.is_success:
        return Finished()
    if attempt >= policy.max_attempts:
        last = answer.problem or f"status {answer.status}"
        return Buried(f"All {attempt} attempts failed; the last one with: {last}")
    pause = backoff_seconds(policy, attempt)
    if answer.is_pushback:
        pause = max(pause, answer.retry_after)
    return Again(later(now, pause * SECOND))


def backoff_seconds(policy: RetryPolicy, attempt: int) -> float:
    """The pause after the ``attempt``-th attempt: doubles from the smallest to the largest."""
    doublings = min(attempt - 1, 60)
    return float(min(policy.max_backoff_seconds, policy.min_backoff_seconds * 2**doublings))


def retry_after_seconds(header: str) -> float:
    """``Retry-After`` in its form of whole seconds; 0 for anything else (the date form needs synchronised clocks)."""
    text = header.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return 0.0
    return min(float(text), MAX_RETRY_AFTER_SECONDS)
