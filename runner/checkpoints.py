"""Checkpoints of an agent at work: taken when a turn is over, not too often, and kept outside this machine.

What is lost when a runner dies is what the agent did since the last one. A checkpoint that fails costs nothing but itself.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from infra.core.clock import SECOND, Clock, Instant
from infra.core.errors import PullwrightError
from infra.core.run import Checkpoint, Phase
from runner.gateway import Gateway
from runner.lease import Lease
from runner.snapshot import SESSION, WORK, Snapshots

_log = logging.getLogger("runner")


@dataclass(slots=True, kw_only=True)
class Checkpoints:
    """Of one agent. ``every_seconds``: how far apart; ``session_id``: the conversation that it has."""

    snapshots: Snapshots
    gateway: Gateway
    lease: Lease
    clock: Clock
    every_seconds: float
    session_id: str
    _last: Instant | None = None
    _work: asyncio.Task[None] | None = None

    def turn(self) -> None:
        """A turn is over: the first one is kept at once, later ones when it is time."""
        now = self.clock()
        due = self._last is None or now - self._last >= self.every_seconds * SECOND
        if due and (self._work is None or self._work.done()):
            self._last = now
            self._work = asyncio.create_task(self._take(at_work=True), name=f"checkpoint {self.lease.gateway.run_id}")

    async def stop(self) -> None:
        """No further ones; one that is being taken is given up."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def last(self) -> None:
        """The agent has ended: one more, of how it left things."""
        await self.stop()
        await self._take(at_work=False)

    async def _take(self, *, at_work: bool) -> None:
        if self.snapshots.place.own_tree:
            return  # a person's folder stays where it is
        base_sha = self.lease.claimed.assignment.base_sha
        try:
            snapshot = await self.snapshots.take(self.session_id, at_work=at_work)
            if not snapshot.session_id:
                return
            await self.gateway.send_artifact(WORK, self.lease.fence, snapshot.work)
            await self.gateway.send_artifact(SESSION, self.lease.fence, snapshot.session)
        except PullwrightError as error:
            _log.warning("no checkpoint: %s", error.message, extra={"run_id": self.gateway.run_id})
            return
        self.lease.checkpoint = Checkpoint(
            phase=Phase.WORKING, base_sha=base_sha, session_id=snapshot.session_id, result=SESSION
        )
