"""What an agent left that was stopped half-way: kept with the run, for people, and never published."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from infra.core.changes import Changes
from infra.core.errors import PullwrightError
from infra.core.ids import parse_run_id
from infra.core.words import commit_message
from infra.wire import Claimed
from runner.collect import Identity, collect, commit
from runner.gateway import Gateway
from runner.saved_work import bundle
from runner.wiring import Tools
from runner.workspace import Workspace

PARTIAL_DIFF = "partial.diff"
PARTIAL_BUNDLE = "partial.bundle"

_MOST_DIFF_BYTES = 8 << 20
_SECONDS = 4.0

_log = logging.getLogger("runner")


class _Enough(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialWork:
    """``clean`` redacts. The agent's processes must be gone."""

    claimed: Claimed
    gateway: Gateway
    tools: Tools
    clean: Callable[[str], str]

    async def keep(self, place: Workspace) -> tuple[str, ...]:
        """The names of what was kept; a run that is being stopped ends all the same when nothing can be."""
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._kept(place)
        except (PullwrightError, TimeoutError) as error:
            _log.warning("partial work lost: %s", error, extra={"run_id": self.gateway.run_id})
            return ()

    async def _kept(self, place: Workspace) -> tuple[str, ...]:
        assignment = self.claimed.assignment
        changes = await collect(self.tools.git, place, base_sha=assignment.base_sha)
        if changes is None:
            return ()
        diff = self.clean(await self._diff(place, changes))
        await self.gateway.send_artifact(PARTIAL_DIFF, self.claimed.fence, diff.encode("utf-8", "surrogateescape"))
        head = await commit(
            self.tools.git,
            place,
            changes,
            message=commit_message("Partial work", parse_run_id(assignment.run_id)),
            identity=Identity(name=assignment.author_name, email=assignment.author_email),
            now=self.tools.clock(),
        )
        file = await bundle(self.tools.git, place, head=head, base_sha=assignment.base_sha)
        await self.gateway.send_artifact(PARTIAL_BUNDLE, self.claimed.fence, await asyncio.to_thread(file.read_bytes))
        return (PARTIAL_DIFF, PARTIAL_BUNDLE)

    async def _diff(self, place: Workspace, changes: Changes) -> str:
        taken = bytearray()

        def take(piece: bytes) -> None:
            taken.extend(piece)
            if len(taken) > _MOST_DIFF_BYTES:
                raise _Enough

        arguments = ("-r", "-p", "--no-color", "--no-renames", "--no-ext-diff", "--no-textconv", "--end-of-options")
        try:
            await self.tools.git.local(
                "diff-tree", *arguments, changes.base_sha, changes.tree_sha, directory=place.git, sink=take
            )
        except _Enough:
            taken.extend(b"\n[the rest is left out; partial.bundle has all of it]\n")
        return taken.decode("utf-8", "surrogateescape")
