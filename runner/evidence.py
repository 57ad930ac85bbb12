"""What is kept of an agent's dealings with the model: the ledger, always; the cassette, where recording is on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from infra.core.changes import Changes
from infra.core.errors import NotFound, PullwrightError
from infra.core.redaction import Redactor
from infra.core.run import Discrepancy, Usage
from infra.core.timeline import EventType
from infra.wire import Claimed, StoredArtifact
from runner import cassette, ledger
from runner.broker import Broker
from runner.cassette import UNCHANGED
from runner.gateway import Gateway
from runner.recorder import Recorder
from runner.stream import Stream

_log = logging.getLogger("runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    recorder: Recorder
    header: cassette.Header


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Of one attempt. ``discrepancy``: found by ``compare``. ``outcome``: why the agent failed, empty when it did not."""

    claimed: Claimed
    gateway: Gateway
    stream: Stream
    broker: Broker
    recording: Recording | None = None
    discrepancy: Discrepancy | None = None
    outcome: str = ""
    _changes: Changes | None = None
    _tree: str = ""
    _before: bytes | None = None
    _kept: bool = False

    async def compare(self, reported: Usage | None) -> None:
        """Holds the ledger against the agent's own account, and tells people where the two differ."""
        if reported is None:
            return
        percent = self.broker.surcharge_percent
        self.discrepancy = ledger.discrepancy(self.broker.ledger, reported, surcharge_percent=percent)
        if self.discrepancy is not None:
            await self.stream.emit(EventType.INFO, {"message": _told(self.discrepancy), "code": "usage_discrepancy"})

    def collected(self, changes: Changes | None) -> None:
        """What the agent left, None for nothing."""
        self._changes = changes
        self._tree = changes.tree_sha if changes else UNCHANGED

    async def keep(self) -> None:
        """Sends what there is, once. A run does not fail for want of its papers: what cannot be sent is missing, and the
        log says so."""
        if self._kept:
            return
        papers = [self._sent(ledger.NAME, self._ledger)]
        if self.recording is not None:
            papers.append(self._sent(cassette.NAME, self._cassette))
        await asyncio.gather(*papers)
        self._kept = True

    async def _sent(self, name: str, content: Callable[[], Coroutine[None, None, bytes]]) -> StoredArtifact | None:
        try:
            return await self.gateway.send_artifact(name, self.claimed.fence, await content())
        except PullwrightError as error:
            _log.error("%s is not kept: %s", name, error.message, extra={"run_id": self.claimed.assignment.run_id})
            return None

    async def _ledger(self) -> bytes:
        if self._before is None:  # read once: what is there later may be our own
            self._before = await self._earlier()
        before = self._before
        run_id, fence = self.claimed.assignment.run_id, self.claimed.fence
        lost = ledger.lost_line(before, self.claimed.used, run_id=run_id, fence=fence, at=self.stream.clock())
        return before + lost + ledger.lines_of(self.broker.ledger, run_id=run_id, fence=fence)

    async def _earlier(self) -> bytes:
        """The lines of the attempts before; none when those got nowhere."""
        if self.claimed.attempt == 1:
            return b""
        try:
            return await self.gateway.artifact(ledger.NAME)
        except NotFound:
            return b""

    async def _cassette(self) -> bytes:
        assert self.recording is not None
        redactor: Redactor = self.stream.redactor
        return await asyncio.to_thread(
            cassette.pack,
            self.recording.header,
            self.recording.recorder,
            redactor=redactor,
            failure=self.outcome,
            tree=self._tree,
            files=cassette.files_of(self._changes, redactor),
            spent=cassette.spent_of(self.broker.ledger),
        )


def _told(found: Discrepancy) -> str:
    tokens = found.input_tokens + found.output_tokens + found.cache_tokens
    side = "more" if (found.cost_micros or tokens) > 0 else "less"
    return (
        f"The model was used for {abs(found.cost_micros) / 1_000_000:.6f} dollars and {abs(tokens):,} tokens {side} than the "
        "agent reports. What the broker counted is what is charged."
    )
