"""The newest events of the runs that somebody watches: read once in this process, however many watch.

A run that is watched has one task that reads what is new and encodes it once; its watchers take the finished bytes from a
small window. Who is further behind reads the store for itself, page by page, until it has caught up: nobody's slowness is
kept in memory, and nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from dispatcher.bell import Bell, wait
from dispatcher.frames import Frame, end_frame, frames_of, gap_frame
from infra.core.errors import PullwrightError
from infra.core.ids import RunId
from infra.core.run import Run
from infra.core.timeline import Gap
from infra.records.runs import Runs
from infra.records.timelines import Timelines

LOOK_AGAIN_SECONDS = 1.0
"""How late news is that another process of the control plane took."""

GATHER_SECONDS = 0.03
"""After news, a moment in which more of it may come: a frame for each event would cost every watcher a write."""

HEARTBEAT_SECONDS = 15.0
"""Proxies close silent streams; a comment line keeps them open."""

WINDOW_BYTES = 256 * 1024
PAGE = 500

_HEARTBEAT = b": still here\n\n"

_log = logging.getLogger("dispatcher")


@dataclass(frozen=True, slots=True)
class Tails:
    """Hands out the one tail of each run that is being watched."""

    runs: Runs
    timelines: Timelines
    bell: Bell
    own_url: str
    _tails: dict[RunId, Tail]

    @classmethod
    def over(cls, *, runs: Runs, timelines: Timelines, bell: Bell, own_url: str) -> Tails:
        return cls(runs, timelines, bell, own_url, {})

    async def follow(self, run_id: RunId, after: int) -> AsyncGenerator[bytes, None]:
        """History, then the live tail, as server-sent events; ends with an ``end`` event that holds the finished run.

        Heartbeats fill the silence. Raises what the store raises while history is read."""
        with self._joined(run_id) as tail:
            while True:
                frames = tail.since(after)
                if frames is None:
                    seen = tail.reached
                    stretch = await self.timelines.read(run_id, after=after, limit=PAGE)
                    # what the tail has seen and the store has no more was removed as too old
                    lost = Gap(first=after + 1, last=seen) if seen > after else None
                    gap = stretch.gap if stretch.events else lost
                    frames = (*([gap_frame(gap)] if gap else []), *frames_of(stretch.events))
                for frame in frames:
                    after = frame.last
                    yield frame.data
                if not frames and tail.ended is not None and after >= tail.reached:
                    yield end_frame(tail.ended, self.own_url)
                    return
                if not frames and not await tail.news(after, HEARTBEAT_SECONDS):
                    yield _HEARTBEAT

    @contextlib.contextmanager
    def _joined(self, run_id: RunId) -> Iterator[Tail]:
        tail = self._tails.get(run_id)
        if tail is None:
            tail = self._tails[run_id] = Tail(run_id, self.runs, self.timelines, self.bell)
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers:
                del self._tails[run_id]
                tail.close()


class Tail:
    """One run's newest frames. ``reached``: the last sequence number it has seen."""

    def __init__(self, run_id: RunId, runs: Runs, timelines: Timelines, bell: Bell) -> None:
        self.watchers = 0
        self.reached = 0
        self.ended: Run | None = None
        self._run_id = run_id
        self._runs = runs
        self._timelines = timelines
        self._bell = bell
        self._window: deque[Frame] = deque()
        self._bytes = 0
        self._started = False
        self._moved = asyncio.Event()
        self._task = asyncio.create_task(self._read_on(), name=f"tail {run_id}")

    def close(self) -> None:
        self._task.cancel()

    def since(self, after: int) -> tuple[Frame, ...] | None:
        """The frames behind ``after``, None when they must be read from the store."""
        if not self._started or after >= self.reached:
            return () if self._started else None
        first = self._window[0].first if self._window else self.reached + 1
        if after + 1 < first:
            return None
        newer = tuple(frame for frame in self._window if frame.last > after)
        return newer if newer and newer[0].first == after + 1 else None

    async def news(self, after: int, seconds: float) -> bool:
        """Waits until there may be more behind ``after``; False when nothing came in time."""
        moved = self._moved
        if self.reached > after or self.ended is not None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await moved.wait()
                return True
        return False

    async def _read_on(self) -> None:
        with self._bell.listen(self._run_id) as rung:
            while self.ended is None:
                try:
                    fresh = await self._look()
                except PullwrightError as error:
                    _log.warning("tail: %s", error.message, extra={"run_id": self._run_id})
                    fresh = False
                if fresh:
                    await asyncio.sleep(GATHER_SECONDS)
                elif self.ended is None:
                    await wait(rung, LOOK_AGAIN_SECONDS)

    async def _look(self) -> bool:
        """Takes what is new into the window; whether there was anything."""
        if not self._started:
            self.reached = await self._timelines.next_sequence(self._run_id) - 1
        run = await self._runs.get(self._run_id)
        # read after the state: events that were stored before the end are never missed
        stretch = await self._timelines.read(self._run_id, after=self.reached, limit=PAGE)
        frames = frames_of(stretch.events)
        self._window.extend(frames)
        self._bytes += sum(len(frame.data) for frame in frames)
        while self._bytes > WINDOW_BYTES and len(self._window) > 1:
            self._bytes -= len(self._window.popleft().data)
        if frames:
            self.reached = frames[-1].last
        elif run.ended:
            self.ended = run
        if frames or self.ended is not None or not self._started:
            self._started = True
            self._moved.set()
            self._moved = asyncio.Event()
        return bool(frames)
