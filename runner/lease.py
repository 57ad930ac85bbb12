"""Keeping a run: heartbeats under one lease, which carry how far the work is, and bring back whether to go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.core.errors import PullwrightError
from infra.core.run import Checkpoint, Ended, Fenced, Phase, Usage
from infra.wire import Claimed, Heartbeat
from runner.gateway import Gateway

_log = logging.getLogger("runner")


@dataclass(slots=True)
class Lease:
    """``phase`` and ``checkpoint`` are told with each beat, as is what ``spent`` says; ``cancelled``: somebody asked for the
    run to stop; ``lost``: why the run is no longer ours."""

    claimed: Claimed
    gateway: Gateway
    spent: Callable[[], Usage]
    phase: Phase = Phase.CLONING
    checkpoint: Checkpoint | None = None
    cancelled: bool = False
    lost: PullwrightError | None = None
    _beats: int = 0

    @property
    def fence(self) -> int:
        return self.claimed.fence

    async def beat(self) -> None:
        """Raises ``Ended`` and ``Fenced`` when the run is no longer ours."""
        self._beats += 1
        beat = Heartbeat(
            fence=self.fence, number=self._beats, phase=self.phase, checkpoint=self.checkpoint, spent=self.spent()
        )
        answer = await self.gateway.heartbeat(beat)
        self.cancelled = self.cancelled or answer.cancel

    async def keep_while(self, work: asyncio.Task[Any]) -> None:
        """Beats until it is cancelled; stops the work when somebody asks for it or when the lease is lost.

        Once the work is being published it is too late to stop it: a half-made pull request helps nobody.
        """
        while True:
            await asyncio.sleep(self.claimed.heartbeat_seconds)
            try:
                await self.beat()
            except (Ended, Fenced) as error:
                self.lost = error
            except PullwrightError as error:
                _log.warning("heartbeat failed: %s", error.message, extra={"run_id": self.gateway.run_id})
                continue
            self.stop_if_asked(work)

    def stop(self, work: asyncio.Task[Any]) -> bool:
        """Somebody asks for the end now. False when it is too late for that."""
        if self._maybe_published():
            return False
        self.cancelled = True
        self.stop_if_asked(work)
        return True

    def stop_if_asked(self, work: asyncio.Task[Any]) -> None:
        stop = self.lost or (self.cancelled and not self._maybe_published())
        if stop and not work.cancelling():
            work.cancel()

    def _maybe_published(self) -> bool:
        """Also when an earlier attempt was lost while it published: then this one must look before it says "cancelled"."""
        return self.phase is Phase.PUBLISHING or (
            self.checkpoint is not None and self.checkpoint.phase is Phase.PUBLISHING
        )
