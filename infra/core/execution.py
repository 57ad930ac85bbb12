"""Who works on a run: the runner service while a request may last, a job execution beyond it.

A request held open by the queue lives 30 minutes at most, so an attempt that may take longer than 25 cannot be one.
https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2#task
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from infra.core.errors import Invalid

MAX_REQUEST_SECONDS = 25 * 60
"""Longest attempt inside one request: five minutes are left for cloning, publishing and telling."""

MAX_EXECUTION_SECONDS = 24 * 3600
"""Longest attempt inside a job. Cloud Run allows 7 days; nobody waits that long for a pull request."""

EXECUTION_GRACE_SECONDS = 15 * 60
"""What an execution gets on top of the attempt's own limit, before Cloud Run ends it."""

GIB = 1 << 30

_CLASS = re.compile(r"([1-9]\d?)x([1-9]\d{0,2})")


class Host(StrEnum):
    """Where a run is executed."""

    SERVICE = "service"
    JOB = "job"


def choose_host(setting: str, wall_seconds: int) -> Host:
    """``setting``: auto, service or job. Raises ``Invalid`` for a run that is too long for the service it is bound to."""
    if setting == "job" or (setting == "auto" and wall_seconds > MAX_REQUEST_SECONDS):
        return Host.JOB
    if wall_seconds > MAX_REQUEST_SECONDS:
        raise Invalid(
            f"The runner service cannot work for {wall_seconds} s at a time.",
            code="run_too_long",
            hint=f"Ask for at most {MAX_REQUEST_SECONDS} s, or set EXECUTOR=auto, so that longer runs become jobs.",
        )
    return Host.SERVICE


@dataclass(frozen=True, slots=True, order=True)
class ResourceClass:
    """A size that runs can have: whole CPUs and GiB of memory. Each is a job made by the deployment, because an execution
    cannot change its job's size. https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/run"""

    cpu: int
    memory_gib: int

    def __str__(self) -> str:
        return f"{self.cpu}x{self.memory_gib}"


def parse_classes(text: str) -> tuple[ResourceClass, ...]:
    """A comma list such as ``1x2,2x4`` (CPUs x GiB), smallest first. Raises ``Invalid``."""
    found = []
    for part in text.split(","):
        match = _CLASS.fullmatch(part.strip())
        if match is None:
            raise Invalid(
                f"{part.strip()!r} is not a resource class.", code="invalid_setting", hint="Write 2x4: 2 CPUs, 4 GiB."
            )
        found.append(ResourceClass(int(match[1]), int(match[2])))
    return tuple(sorted(found))


def fitting(classes: Sequence[ResourceClass], *, cpu: float, memory_gib: float) -> ResourceClass:
    """The smallest class with at least this much. Raises ``Invalid`` naming the largest when none is large enough."""
    for candidate in sorted(classes):
        if candidate.cpu >= cpu and candidate.memory_gib >= memory_gib:
            return candidate
    raise Invalid(
        f"No runner has {cpu:g} CPUs and {memory_gib:g} GiB.",
        code="resources_too_large",
        hint=f"The largest has {max(classes).cpu} CPUs and {max(classes).memory_gib} GiB.",
    )


class ExecutionState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """``name``: as the platform calls it; ``reason``: its words for a failure."""

    name: str
    state: ExecutionState
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.state not in {ExecutionState.PENDING, ExecutionState.RUNNING}


class Executions(Protocol):
    """Processes that work on one run each and are gone afterwards."""

    async def start(self, size: ResourceClass, environment: Mapping[str, str], timeout_seconds: int) -> str:
        """Starts one and returns its name at once. Never repeated by itself: whoever repeats it may have two.

        Raises ``Forbidden`` with the role to grant, ``Unavailable`` (also over quota) when nothing was started for certain
        or the answer was lost.
        """
        ...

    async def describe(self, name: str) -> Execution | None:
        """None when it is not known (any more)."""
        ...

    async def cancel(self, name: str) -> None:
        """Asks it to end: SIGTERM, ten seconds, SIGKILL. Fine for one that has ended or is not known."""
        ...

    async def close(self) -> None: ...
