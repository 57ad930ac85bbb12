"""The decision about an occasion: which trigger hears it, and may whoever caused it start a run. Pure.

Facts that no payload can prove (a person's permission, a team, changed files, a pull request's head) are asked of the
forge only when the answer depends on them: the decision then is ``Open`` and names its questions; whoever wants to know
asks, and judges again with the answers. A question without an answer is never taken for a yes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from infra.core.ask import MAX_ASK_CHARS, Ask, PullHead, Via
from infra.core.errors import Invalid
from infra.core.hearing import Miss, heard
from infra.core.mention import Options
from infra.core.occasion import Kind, Occasion
from infra.core.run import Limits
from infra.core.trigger import Ignored, Policy, Refused, issue_text
from infra.core.triggers import OPEN_TO_ANYBODY, UNASKED, On, Trigger, Triggers

_RANKS = {"none": 0, "read": 1, "triage": 2, "write": 3, "maintain": 4, "admin": 5}
_INSTRUCTIONS = {
    On.REVIEW: "Address the review of this pull request.",
    On.CI_FAILED: "Checks of this commit have failed. Find the cause and mend it.",
}
_OURS = Ignored("This is our own doing.")


class Question(StrEnum):
    """A fact to ask the forge for."""

    PERMISSION = "permission"
    TEAMS = "teams"
    FILES = "files"
    PULL = "pull"
    APP = "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Answers of the forge; None: not asked. ``app``: id of the App behind a bot, 0 for none."""

    permission: str | None = None
    teams: frozenset[str] | None = None
    files: tuple[str, ...] | None = None
    pull: PullHead | None = None
    app: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that a judgement is made from. ``delivery``: the key under which the delivery is recorded."""

    occasion: Occasion
    triggers: Triggers
    policy: Policy
    delivery: str
    facts: Facts = Facts()

    @property
    def pull(self) -> PullHead | None:
        """The pull request, from the payload if that shows it."""
        return self.occasion.pull or self.facts.pull


@dataclass(frozen=True, slots=True)
class Open:
    """It depends. ``teams``: those that are asked about."""

    questions: frozenset[Question]
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A trigger has heard somebody who, as far as is known now, may ask."""

    ask: Ask
    trigger: Trigger
    pull: PullHead | None
    limits: Limits
    model: str


Verdict = Heard | Open | Ignored | Refused


def allowed(permission: str, needed: str) -> bool:
    """Whether the forge's word for a permission is at least ``needed``, and never less than write; unknown words are not."""
    return _RANKS.get(permission, 0) >= max(_RANKS.get(needed, len(_RANKS)), _RANKS["write"])


_ANY_APP = 1
"""Where a payload does not say whose check it is."""


def judge(case: Case) -> Verdict:
    """The first trigger that hears it decides."""
    occasion = case.occasion
    if occasion.sender.app and occasion.sender.app == case.policy.own_app:
        return _OURS
    misses: list[Miss] = []
    for trigger in case.triggers.items:
        try:
            options = heard(trigger, occasion)
        except Invalid as error:
            return Refused(f"{error.message} {error.hint}")
        outcome = options if isinstance(options, Miss) else _filtered(trigger, case)
        if isinstance(outcome, Miss):
            misses.append(outcome)
            continue
        if isinstance(outcome, Open):
            return outcome
        assert isinstance(options, Options)
        return _judge_sender(trigger, options, case)
    return Ignored(_why_not(occasion, misses))


def _why_not(occasion: Occasion, misses: list[Miss]) -> str:
    near = next((miss.reason for miss in misses if miss.near), "")
    if near:
        return f"{near[0].upper()}{near[1:]}."
    return f"No trigger is about this ({occasion.subject}, {occasion.kind})."


def _filtered(trigger: Trigger, case: Case) -> Miss | Open | None:
    """First what the payload shows, then what has to be asked for. None: it passes."""
    reason = _shown_reason(trigger, case)
    if reason:
        return Miss(reason)
    occasion, facts, wanted = case.occasion, case.facts, trigger.filter
    questions = set()
    if occasion.is_pull and case.pull is None:
        questions.add(Question.PULL)
    elif reason := _branch_reason(trigger, case):
        return Miss(reason)
    files = facts.files if occasion.files is None else occasion.files
    if wanted.files.asked:
        if files is not None and (reason := wanted.files.refusal(files)):
            return Miss(reason)
        if files is None and not occasion.is_pull:
            return Miss("only pull requests and pushes have changed files")
        if files is None:
            questions.add(Question.FILES)
    if wanted.teams and facts.teams is None:
        questions.add(Question.TEAMS)
    elif wanted.teams and not (facts.teams or frozenset()) & set(wanted.teams):
        return Miss(f"{occasion.sender.login} is in none of the teams {', '.join(wanted.teams)}")
    return Open(frozenset(questions), wanted.teams) if questions else None


def _shown_reason(trigger: Trigger, case: Case) -> str:
    occasion, wanted = case.occasion, trigger.filter
    if occasion.is_pull and wanted.draft is not None and wanted.draft != _draft(case):
        return "the pull request is a draft" if _draft(case) else "the pull request is no draft"
    if occasion.check and not occasion.check.suite and (reason := wanted.checks.refusal(occasion.check.name)):
        return reason
    return wanted.authors.refusal(occasion.sender.login) or wanted.labels.refusal(occasion.labels)


def _draft(case: Case) -> bool:
    return case.pull.draft if case.pull else case.occasion.draft


def _branch_reason(trigger: Trigger, case: Case) -> str:
    """A branch filter is about where a change would land; for a push or a check about where it lies."""
    occasion = case.occasion
    if occasion.kind is Kind.PUSHED or occasion.check:
        branch = occasion.ref
    else:
        branch = case.pull.base_branch if case.pull else occasion.default_branch
    return trigger.filter.branches.refusal(branch) if branch else ""


def _judge_sender(trigger: Trigger, options: Options, case: Case) -> Verdict:
    sender, needed = case.occasion.sender, trigger.filter.permission
    if case.pull and case.pull.fork and trigger.on in UNASKED:
        return Refused("The pull request comes from a fork; somebody with write access has to ask in a comment.")
    if trigger.on is On.CI_FAILED and sender.bot:
        # a red check is a fact about a commit of this repository: nobody asks for anything by it, whoever pushed
        return _heard(trigger, options, case, sender.app or _ANY_APP)
    if sender.bot:
        app = _judge_bot(case)
        return _heard(trigger, options, case, app) if isinstance(app, int) else app
    if trigger.on in OPEN_TO_ANYBODY or needed != "write":
        permission = case.facts.permission
        if permission is None:
            return Open(frozenset({Question.PERMISSION}))
        if not allowed(permission, needed):
            return Refused(
                f"{sender.login} has {permission or 'no'} permission on {case.occasion.repository}; "
                f"starting a run takes {needed}."
            )
    return _heard(trigger, options, case, 0)


def _judge_bot(case: Case) -> int | Open | Refused | Ignored:
    """The id of the listed App that the bot is. A login proves nothing: anybody can name an App so that its bot sounds right."""
    sender, bots = case.occasion.sender, case.triggers.bots
    if not bots:
        return Refused(f"{sender.login} is a bot; bots start runs only when their App is listed under bots.")
    app = sender.app or case.facts.app
    if app is None:
        return Open(frozenset({Question.APP}))
    if app == case.policy.own_app:
        return _OURS
    if app not in bots:
        return Refused(f"{sender.login} is a bot of an App that is not listed under bots.")
    return app


def _heard(trigger: Trigger, options: Options, case: Case, app: int) -> Heard | Refused:
    occasion, policy = case.occasion, case.policy
    model = options.model or trigger.model or policy.model
    if refusal := _beyond(options, model, policy):
        return Refused(refusal)
    limits = replace(
        policy.limits,
        budget_micros=options.budget_micros or policy.limits.budget_micros,
        max_turns=options.max_turns or policy.limits.max_turns,
    )
    ask = Ask(
        actor=occasion.sender.login,
        author=occasion.author or occasion.sender.login,
        text=_text(occasion)[:MAX_ASK_CHARS],
        via=occasion.via,
        trigger=trigger.on,
        url=occasion.url,
        at=occasion.at,
        delivery=case.delivery,
        id=occasion.id,
        place=occasion.place,
        permission=trigger.filter.permission,
        app=app,
        instructions=trigger.instructions or _INSTRUCTIONS.get(trigger.on, ""),
        head=_head(case),
        model=model,
        budget_micros=limits.budget_micros,
        max_turns=limits.max_turns,
    )
    if not ask.text.strip() and not ask.instructions:
        return Refused("There is nothing in it that could be done: it has no text.")
    return Heard(ask=ask, trigger=trigger, pull=case.pull, limits=limits, model=model)


def _beyond(options: Options, model: str, policy: Policy) -> str:
    """Why the options are more than the operator allows; empty when they are not."""
    if model != policy.model and model not in policy.allowed_models:
        known = ", ".join(dict.fromkeys((policy.model, *policy.allowed_models)))
        return f"The model {model} is not among those that runs may use here: {known}."
    if options.budget_micros > policy.limits.budget_micros:
        return f"The budget is more than one run may spend here: {policy.limits.budget_micros / 1_000_000:.2f} USD."
    if options.max_turns > policy.limits.max_turns:
        return f"{options.max_turns} turns are more than one run may have here: {policy.limits.max_turns}."
    return ""


def _head(case: Case) -> str:
    if case.occasion.check:
        return case.occasion.check.sha
    return case.pull.sha if case.pull else case.occasion.sha


def _text(occasion: Occasion) -> str:
    if occasion.via in {Via.ISSUE, Via.PULL}:
        return issue_text(occasion.title, occasion.body)
    return occasion.said
