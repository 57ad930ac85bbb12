"""From wishes to the run that grants them: one wish, or all that waited for the same issue, pull request or branch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from infra.core.ask import MAX_ASK_CHARS, PullHead, Via, Wish
from infra.core.matching import Heard
from infra.core.occasion import Occasion
from infra.core.repository import Repository
from infra.core.run import Limits, Origin, Run
from infra.core.trigger import MAX_TASK_CHARS, Action, RunRequest, issue_text, title_of
from infra.core.triggers import On, Trigger

MOST_TOGETHER = 50
"""Asks in one run; what is beyond them, or beyond ``MAX_TASK_CHARS``, waits for the run after it."""


def wish_of(heard: Heard, occasion: Occasion) -> Wish:
    return Wish(
        ask=heard.ask,
        owner=occasion.repository.owner,
        repo=occasion.repository.name,
        installation_id=occasion.installation_id,
        number=occasion.number,
        is_pull=occasion.is_pull,
        title=title_of(occasion.title),
        url=occasion.subject_url or occasion.url,
        head=heard.pull,
        ref=occasion.ref,
        sha=occasion.check.sha if occasion.check else occasion.sha,
        label=heard.trigger.name if heard.trigger.on is On.LABEL else "",
        about=_about(heard, occasion),
    )


def requested(wishes: Sequence[Wish], limits: Limits) -> RunRequest:
    """The run for these wishes, which are about one subject and in the order in which they came. ``limits``: the operator's;
    the most generous of what was asked for within them holds."""
    first, last = wishes[0], wishes[-1]
    asks = tuple(wish.ask for wish in wishes)
    ref, head = _where(last, alone=len(wishes) == 1)
    return RunRequest(
        repository=Repository(owner=first.owner, name=first.repo),
        installation_id=last.installation_id,
        ref=ref,
        title=last.title,
        task="",
        action=Action.CREATE_PR,
        origin=_origin(first),
        limits=replace(
            limits,
            budget_micros=max(ask.budget_micros for ask in asks) or limits.budget_micros,
            max_turns=max(ask.max_turns for ask in asks) or limits.max_turns,
        ),
        model=last.ask.model,
        asks=asks,
        about=last.about,
        head=head,
    )


def base_of(request: RunRequest, wishes: Sequence[Wish]) -> str:
    """The commit to start from where the trigger already said it; empty: the ref's head when a runner claims.

    Several wishes were about several moments, and the run before them may itself have moved the branch.
    """
    if len(wishes) > 1:
        return ""
    if request.head is not None:
        return request.head.sha if request.head.workable else ""
    return wishes[0].sha


def together(wishes: Sequence[Wish]) -> int:
    """How many of the waiting wishes go into the next run: at least one."""
    size = 0
    for count, wish in enumerate(wishes[:MOST_TOGETHER]):
        size += wish.ask.size
        if count and size > MAX_TASK_CHARS:
            return count
    return min(len(wishes), MOST_TOGETHER)


def says_the_same(run: Run, wish: Wish) -> bool:
    """Whether a run already works on exactly this: an issue opened with a label arrives twice, and the checks of a commit may
    fail one after another."""
    new = wish.ask
    for ask in run.asks:
        if new.via is Via.CHECK:
            if ask.via is Via.CHECK and ask.head == new.head:
                return True
        elif (ask.via, ask.text, ask.id, ask.instructions) == (new.via, new.text, new.id, new.instructions):
            return True
    return False


def cooling(trigger: Trigger, last_started: int | None, now: int) -> str:
    """Why it is too early for another run on the same subject; empty when it is not. Times in milliseconds."""
    if not trigger.cooldown_seconds or last_started is None:
        return ""
    left = trigger.cooldown_seconds - (now - last_started) / 1000
    return f"The trigger rests for another {max(1, round(left))} seconds here." if left > 0 else ""


def _about(heard: Heard, occasion: Occasion) -> str:
    """What is not in the ask anyhow."""
    if not occasion.number or heard.ask.via in {Via.ISSUE, Via.PULL, Via.CHECK}:
        return ""
    return issue_text(occasion.title, occasion.body)[:MAX_ASK_CHARS]


def _where(wish: Wish, *, alone: bool) -> tuple[str, PullHead | None]:
    head = wish.head
    if head is None:
        return wish.ref, None
    if not alone:
        head = replace(head, sha="")
    if head.workable:
        return head.branch, head
    # a fork's code is not worked on with our credentials, and a closed pull request gets a new one
    return head.base_branch, head


def _origin(wish: Wish) -> Origin:
    ask = wish.ask
    kind = "github_branch" if not wish.number else "github_pull" if wish.is_pull else "github_issue"
    return Origin(
        kind=kind,
        actor=ask.actor,
        issue=wish.number,
        issue_url=wish.url,
        delivery=ask.delivery,
        pull=wish.is_pull,
        comment=ask.id if ask.via in {Via.COMMENT, Via.LINE} else 0,
        in_thread=ask.via is Via.LINE,
        label=wish.label,
    )
