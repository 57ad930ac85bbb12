"""The local queue's far half: leases due tasks, has their requests made, and writes down what became of them.

One pump per file, held by a lock that the kernel drops when the process dies, however it dies. So at its start a pump knows
that every lease in the file belonged to a dead one, and makes those tasks due at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from infra.core.clock import MINUTE, SECOND, Clock, later
from infra.core.errors import Conflict, Unavailable
from infra.core.queue import RetryPolicy
from infra.local import queue_table as table
from infra.local.durable import make_private
from infra.local.queue_courier import Courier, Sign, courier_client
from infra.local.queue_file import QueueFile
from infra.local.queue_nudge import doorbell
from infra.local.queue_pace import Pace
from infra.local.queue_rules import Answer, Buried, Returned, Verdict, judge
from infra.local.queue_table import Lease

_LOOK_SECONDS = 1.0
_CLEAN_EVERY = MINUTE

_log = logging.getLogger(__name__)


class QueuePump:
    """Delivers the tasks of one file at least once, in no order, until it is told to stop.

    ``name`` is what receivers see as the queue's name; empty means the file's name without its ending.
    """

    def __init__(self, path: Path, clock: Clock, *, sign: Sign, policy: RetryPolicy, name: str = "") -> None:
        self._path = path
        self._policy = policy
        self._sign = sign
        self._clock = clock
        self._name = name or path.stem

    async def run(self, stop: asyncio.Event) -> None:
        """Returns soon after ``stop`` is set; attempts under way are broken off and come due again at the next start.

        Raises ``Conflict`` when another pump has this file, ``Unavailable`` when the file cannot be used at the start.
        """
        wake = asyncio.Event()
        with _only_pump(self._path), doorbell(self._path, wake.set):
            # A lease or result that a power cut takes back only means one delivery more: no need to wait for the disk.
            file = QueueFile(self._path, durable=False)
            try:
                await file.submit(partial(table.recover, now=self._clock()))
                async with courier_client(self._policy) as client:
                    courier = Courier(client, sign=self._sign, queue_name=self._name)
                    await _Shift(file, courier, self._policy, self._clock, wake).work(stop)
            finally:
                await file.close()


class _Shift:
    """One run of the pump, with what it has to remember while it lasts."""

    def __init__(
        self, file: QueueFile, courier: Courier, policy: RetryPolicy, clock: Clock, wake: asyncio.Event
    ) -> None:
        self._file = file
        self._courier = courier
        self._policy = policy
        self._clock = clock
        self._wake = wake
        self._now = asyncio.get_running_loop().time
        self._pace = Pace(policy, self._now())
        self._under_way: set[asyncio.Task[None]] = set()
        self._clean_at = clock()

    async def work(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._wake_at(stop))
            while not stop.is_set():
                self._wake.clear()
                await self._rest(await self._look(group))
            for task in (watch, *self._under_way):
                task.cancel()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _rest(self, seconds: float) -> None:
        """Until something happens or that long; never longer than a look, because nudges may be lost."""
        try:
            async with asyncio.timeout(min(seconds, _LOOK_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Starts what may start now; answers with the seconds until there may be more to do."""
        try:
            await self._clean()
            return await self._dispatch(group)
        except Unavailable as error:
            _log.warning("%s %s", error.message, error.hint)
            return _LOOK_SECONDS

    async def _dispatch(self, group: asyncio.TaskGroup) -> float:
        room = self._policy.max_concurrent - len(self._under_way)
        if room <= 0:
            return _LOOK_SECONDS  # whichever attempt ends first wakes us
        allowed = min(room, self._pace.allowance(self._now()))
        if allowed <= 0:
            return self._pace.wait(self._now())
        leases, next_due = await self._file.submit(
            partial(table.lease, now=self._clock(), limit=allowed, max_attempts=self._policy.max_attempts)
        )
        self._pace.spend(len(leases))
        for lease in leases:
            task = group.create_task(self._attempt(lease))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return _LOOK_SECONDS if next_due is None else max(0.0, (next_due - self._clock()) / SECOND)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()

    async def _attempt(self, lease: Lease) -> None:
        sent_at = self._now()
        try:
            answer = await self._courier.deliver(lease)
        except asyncio.CancelledError:
            await self._settle(lease, Answer(None), Returned())
            raise
        self._keep_pace(answer, sent_at)
        verdict = judge(answer, lease.attempt, self._policy, self._clock())
        if isinstance(verdict, Buried):
            _log.warning("Task %s goes to the dead letters. %s", lease.task.name, verdict.reason)
        await self._settle(lease, answer, verdict)

    def _keep_pace(self, answer: Answer, sent_at: float) -> None:
        if answer.is_pushback:
            self._pace.pushed_back(sent_at, self._now(), answer.retry_after)
        elif answer.is_success:
            self._pace.accepted(self._now())

    async def _settle(self, lease: Lease, answer: Answer, verdict: Verdict) -> None:
        try:
            await self._file.submit(
                partial(table.settle, held=lease, answer=answer, verdict=verdict, now=self._clock())
            )
        except Unavailable as error:  # the lease lapses and the task is delivered again
            _log.warning("How task %s ended was not kept. %s %s", lease.task.name, error.message, error.hint)

    async def _clean(self) -> None:
        now = self._clock()
        if now < self._clean_at:
            return
        more = await self._file.submit(partial(table.clean, now=now))
        self._clean_at = now if more else later(now, _CLEAN_EVERY)


@contextmanager
def _only_pump(queue: Path) -> Iterator[None]:
    make_private(queue.parent)
    descriptor = os.open(queue.with_name(f"{queue.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Another process delivers the tasks of {queue} already.",
                code="queue_pump_running",
                hint="Stop that one first; one is enough.",
            ) from None
        yield
    finally:
        os.close(descriptor)
