"""Runs for a person's own runner: made here, claimed from somewhere else, never launched.

The run waits, and its token is good, until ``ATTACH_WINDOW`` is over; the sweeper leaves it alone until then, and a runner
that was lost may come back with the same token.
"""

from __future__ import annotations

from dataclasses import replace

from dispatcher.engine.nudge import nudge
from dispatcher.services import Services
from infra import run_token
from infra.core.clock import later
from infra.core.run import ATTACH_WINDOW, Run
from infra.core.store import Write
from infra.platform_secrets import RUN_TOKEN_KEY


async def open_for_person(run: Run, services: Services, *locks: Write) -> Run:
    """Stores the run, which waits from now on. Raises ``AlreadyExists`` when a lock is taken (then nothing was stored)."""
    waiting = replace(run, attach=True, wake_at=later(run.launched_at, ATTACH_WINDOW))
    await services.store.commit(services.runs.creation(waiting), *locks)
    await nudge(waiting, services)
    return waiting


async def token(run: Run, services: Services) -> str:
    """The capability to work on this run: shown to whoever made it, and kept nowhere."""
    return run_token.mint(await services.platform.one(RUN_TOKEN_KEY), run)
