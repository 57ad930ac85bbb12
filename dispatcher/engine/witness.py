"""Asks the forge for the facts that a judgement depends on, all of one judgement at once, and briefly: GitHub is waiting."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dispatcher.services import Services
from infra.core.ask import PullHead
from infra.core.errors import Invalid, NotFound, Unavailable
from infra.core.forge import PullRequest, RepositoryForge
from infra.core.ids import RunId, parse_run_id
from infra.core.matching import Case, Facts, Open, Question, Verdict, judge
from infra.core.occasion import Kind, Occasion, Sender

ASKING_SECONDS = 6.0
_ROUNDS = 3
_OWN_BRANCH = "claude/"


async def judged(case: Case, services: Services) -> Verdict:
    """The verdict, with the forge asked as far as it takes.

    Raises ``Unavailable`` when the forge does not answer: the delivery then counts as failed and is redelivered.
    """
    case = replace(case, occasion=await _behind(case.occasion, services))
    for _ in range(_ROUNDS):
        verdict = judge(case)
        if not isinstance(verdict, Open):
            return verdict
        case = replace(case, facts=await _asked(case, verdict, services))
    raise AssertionError("a judgement asked for what it had been told")


async def _behind(occasion: Occasion, services: Services) -> Occasion:
    """With the person behind what happened to our own branch: checks there fail because of our push, and whoever asked for that
    run is who would have to ask for its repair."""
    if occasion.kind is not Kind.CHECKED or not occasion.ref.startswith(_OWN_BRANCH):
        return occasion
    try:
        run = await services.runs.get(_run_of(occasion.ref))
    except (Invalid, NotFound):
        return occasion
    if not run.asks:
        return occasion
    return replace(occasion, sender=Sender(login=run.origin.actor, bot=False), author=run.origin.actor)


def _run_of(branch: str) -> RunId:
    return parse_run_id(branch.removeprefix(_OWN_BRANCH))


async def _asked(case: Case, wanted: Open, services: Services) -> Facts:
    try:
        async with asyncio.timeout(ASKING_SECONDS):
            return await _ask(case, wanted, services)
    except TimeoutError:
        raise Unavailable(
            "GitHub did not say in time who may do this.",
            code="github_unreachable",
            hint="The delivery will be tried again; it can also be redelivered from the App's settings.",
        ) from None


async def _ask(case: Case, wanted: Open, services: Services) -> Facts:
    occasion, facts = case.occasion, case.facts
    forge = await services.forge()
    repository = forge.on(occasion.installation_id, occasion.repository)
    for question in sorted(wanted.questions):
        match question:
            case Question.PERMISSION:
                facts = replace(facts, permission=await repository.permission(occasion.sender.login))
            case Question.PULL:
                facts = replace(facts, pull=_head(await repository.pull(occasion.number)))
            case Question.FILES:
                facts = replace(facts, files=await repository.changed_files(occasion.number))
            case Question.TEAMS:
                facts = replace(facts, teams=await _teams(wanted.teams, occasion, repository))
            case Question.APP:
                facts = replace(facts, app=await repository.app_behind(occasion.sender.login))
    return facts


async def _teams(wanted: tuple[str, ...], occasion: Occasion, repository: RepositoryForge) -> frozenset[str]:
    """Those of the wanted teams that the sender is in; the first one is enough."""
    for team in wanted:
        if await repository.in_team(team, occasion.sender.login):
            return frozenset({team})
    return frozenset()


def _head(pull: PullRequest) -> PullHead:
    return PullHead(
        number=pull.number,
        branch=pull.head_branch,
        sha=pull.head_sha,
        base_branch=pull.base_branch,
        fork=pull.from_fork,
        open=pull.state == "open",
        draft=pull.draft,
    )
