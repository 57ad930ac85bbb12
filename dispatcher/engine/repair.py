"""Red checks on a pull request: the facts are gathered, the verdict is acted on – before a runner costs anything."""

from __future__ import annotations

from dataclasses import dataclass

from dispatcher.services import Services
from infra.core.ci_repair import RED, AskPerson, Green, RedCheck, Repair, Rerun
from infra.core.conversing import CheckRun
from infra.core.errors import Forbidden, Invalid, NotFound
from infra.core.forge import RepositoryForge
from infra.core.run import Reason, Run, State
from infra.core.status_comment import CHECK_NAME

NEEDS_HUMAN = "needs_human"
"""Code of the reason after which a person has to look."""

_SAID_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ends that repairs nothing."""

    state: State
    reason: Reason


async def judged(run: Run, head: str, repository: RepositoryForge, services: Services) -> Verdict | None:
    """None when the run is to go on and repair the red checks on ``head``."""
    pull = await repository.pull(run.origin.issue)
    if pull.state != "open" or pull.head_sha != head:
        return _nothing("checks_outdated", f"The pull request has moved on from {head[:12]}, whose checks failed.")
    red = await _red(head, pull.base_branch, repository)
    verdict = await services.repairs.judge(
        run.full_name, pull.number, red, head=head, run_id=run.id, caps=services.settings.repair_caps
    )
    match verdict:
        case Repair():
            return None
        case Green():
            return _nothing("checks_green", "No check is red any more.")
        case Rerun(checks):
            return await _rerun(checks, repository)
        case AskPerson(reason):
            return _ask(reason)


async def _red(head: str, base: str, repository: RepositoryForge) -> tuple[RedCheck, ...]:
    everything = await repository.checks_on(head, newest=False)
    newest = {(check.app, check.name): check for check in sorted(everything, key=lambda check: check.id)}
    red = [check for check in newest.values() if check.conclusion in RED and check.name != CHECK_NAME]
    if not red:
        return ()
    on_base = {(check.app, check.name): check.conclusion for check in await repository.checks_on(base)}
    return tuple(
        RedCheck(
            id=check.id,
            name=check.name,
            app=check.app,
            conclusion=check.conclusion,
            said=f"{check.title}\n{check.summary}".strip()[:_SAID_CHARS],
            here=tuple(
                other.conclusion
                for other in everything
                if (other.app, other.name) == (check.app, check.name) and other.conclusion
            ),
            on_base=on_base.get((check.app, check.name), ""),
        )
        for check in red
    )


async def _rerun(checks: tuple[RedCheck, ...], repository: RepositoryForge) -> Verdict:
    names = ", ".join(check.name for check in checks[:5])
    for check in checks:
        try:
            await repository.rerun_check(
                CheckRun(id=check.id, name=check.name, app=check.app, status="", conclusion="")
            )
        except (Forbidden, Invalid, NotFound) as error:
            return _ask(f"{names} looks to have failed by itself, but cannot be started again: {error.message}")
    message = f"{names} looks to have failed by itself and was started again."
    return _nothing("checks_rerun", message)


def _nothing(code: str, message: str) -> Verdict:
    return Verdict(State.NO_CHANGES, Reason(code=code, message=message, hint=message))


def _ask(reason: str) -> Verdict:
    hint = "Look at the checks; a comment that mentions the bot with what to do starts it again."
    return Verdict(State.BLOCKED, Reason(code=NEEDS_HUMAN, message=reason, hint=hint))
