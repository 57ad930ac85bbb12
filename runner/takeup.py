"""Taking up what somebody left: an earlier attempt that lost its runner, or another run that this one goes on from."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from infra.core.errors import Invalid, NotFound
from infra.core.ids import RunId, parse_run_id
from infra.core.prompt import follow_up_prompt, resume_prompt
from infra.core.run import Phase
from infra.core.timeline import EventType
from infra.wire import Claimed
from runner.agents.port import Sink
from runner.gateway import Gateway
from runner.git import Git
from runner.snapshot import SESSION, WORK, take_up_session, take_up_work
from runner.workspace import Workspace

_log = logging.getLogger("runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A conversation that lies ready in the agent's home; ``fork``: it goes on under a new name. ``prompt``: what is said next."""

    session_id: str
    fork: bool
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    run_id: RunId
    session_id: str
    session: str
    work: str
    fork: bool
    own: bool


def _left(claimed: Claimed) -> _Left | None:
    before, other = claimed.checkpoint, claimed.assignment.resume_from
    if before is not None and before.phase is Phase.WORKING and before.session_id:
        run_id = parse_run_id(claimed.assignment.run_id)
        return _Left(run_id=run_id, session_id=before.session_id, session=SESSION, work=WORK, fork=False, own=True)
    if other is not None and other.session_id:
        return _Left(
            run_id=parse_run_id(other.run_id),
            session_id=other.session_id,
            session=other.artifact,
            work=other.work,
            fork=other.fork,
            own=False,
        )
    return None


async def take_up(git: Git, gateway: Gateway, sink: Sink, claimed: Claimed, place: Workspace) -> Resumed | None:
    """Puts files and conversation into a freshly cloned workspace; None when there is nothing, or nothing that can be used."""
    left = _left(claimed)
    if left is None:
        return None
    try:
        session = await gateway.artifact(left.session)
        work = await gateway.artifact(left.work) if left.work else b""
        await take_up_session(git, place, session, session_id=left.session_id)
        if work:
            await take_up_work(git, place, work, base_sha=claimed.assignment.base_sha, run_id=left.run_id)
    except (NotFound, Invalid) as error:
        told = f"What was saved cannot be taken up ({error.message}); the agent starts over."
        await sink(EventType.INFO, {"message": told, "code": "not_resumed"})
        return None
    whose = "an earlier attempt" if left.own else str(left.run_id)
    await sink(EventType.INFO, {"message": f"Going on where {whose} was.", "code": "resumed"})
    prompt = (
        resume_prompt(str(place.tree)) if left.own else follow_up_prompt(claimed.assignment.prompt, str(place.tree))
    )
    return Resumed(session_id=left.session_id, fork=left.fork, prompt=prompt)
