"""The local queue, with the promises of infra/core/queue.py, over one SQLite file: ``LocalQueue`` takes tasks in the programs
that have work to give, ``QueuePump`` delivers them from a process of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from infra.core.clock import Clock
from infra.core.errors import Conflict, NotFound
from infra.core.queue import Task, check_task, check_task_name
from infra.local import queue_table as table
from infra.local.queue_file import QueueFile
from infra.local.queue_nudge import Nudger
from infra.local.queue_pump import QueuePump
from infra.local.queue_table import DeadLetter

__all__ = ["DeadLetter", "LocalQueue", "QueuePump"]


class LocalQueue:
    """``Queue`` over one SQLite file that any number of processes may share. An accepted task survives a power cut."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._nudger = Nudger(path)
        self._file = QueueFile(path, durable=True, after_commit=self._nudger.nudge)

    async def create(self, task: Task) -> bool:
        now = self._clock()
        check_task(task, now)
        return await self._file.submit(partial(table.insert, task=task, now=now))

    async def dead_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        """Tasks that were given up or made no sense, the latest first."""
        return await self._file.submit(partial(table.dead_letters, limit=limit))

    async def replay(self, name: str) -> None:
        """Puts a dead letter back into the queue, with all its attempts before it.

        Raises ``Invalid`` for what cannot be a name, ``NotFound`` when no task of that name is known, ``Conflict`` when it is
        not a dead letter.
        """
        check_task_name(name)
        state = await self._file.submit(partial(table.replay, name=name, now=self._clock()))
        if not state:
            raise NotFound(f"No task {name!r} is known.", code="unknown_task")
        if state != "dead":
            raise Conflict(f"The task {name!r} is {state}, not a dead letter.", code="not_a_dead_letter")

    async def close(self) -> None:
        await self._file.close()
        self._nudger.close()
