"""Tells people about a run where they are: once, in one comment, in the order in which it matters to them.

Each call looks at the run as it is now, compares that with what has been told, and takes the steps that are missing. Every
step is noted when it is done; one that would leave a second thing behind is noted before it begins, too, and looked for
when it is tried again. So a process may die anywhere, an answer may be lost, and two may do this at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from dispatcher.engine.nudge import nudge_at
from dispatcher.engine.repair import NEEDS_HUMAN
from dispatcher.engine.status import StatusComment, surroundings
from dispatcher.services import Services
from infra.core.announcement import CHECKS_GRACE, LOOK_AGAIN, Announcement, outdated, was_good
from infra.core.ask import Via
from infra.core.clock import EPOCH, MINUTE, SECOND, Instant, later
from infra.core.content_pace import Weight
from infra.core.conversing import Conclusion, NewCheck, Reaction, Spoken, Thread
from infra.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Unavailable,
    Upstream,
)
from infra.core.forge import RepositoryForge
from infra.core.ids import RunId
from infra.core.repository import Repository
from infra.core.run import Run, State
from infra.core.status_comment import CHECK_NAME, check_summary, check_title, is_answer, thread_answer

_log = logging.getLogger("dispatcher")

_CONCLUSIONS = {
    State.SUCCEEDED: Conclusion.SUCCESS,
    State.NO_CHANGES: Conclusion.NEUTRAL,
    State.CANCELLED: Conclusion.CANCELLED,
    State.TIMED_OUT: Conclusion.TIMED_OUT,
    State.BLOCKED: Conclusion.ACTION_REQUIRED,
}
_SEARCH_MARGIN = 1 * MINUTE
"""Clocks differ; GitHub's is asked."""


async def announce(run_id: RunId, services: Services) -> None:
    """Tells what is to be told now and notes when to look again. Trouble with the forge is no error here but a later time."""
    announcements = services.telling.announcements
    record = await announcements.find(run_id)
    if record is None or record.due_at is None:
        return
    run = await services.runs.get(run_id)
    if outdated(run, services.clock()):
        await announcements.change(run_id, lambda now: replace(now, due_at=None))
        return
    try:
        record = await announcements.change(run_id, lambda one: _alone(one, services.clock()))
    except RateLimited as error:  # whoever is at it may have looked before the news
        await nudge_at(run_id, later(services.clock(), error.retry_after * SECOND), services)
        return
    try:
        forge = (await services.forge()).on(record.installation_id, Repository(owner=run.owner, name=run.repo))
        due_at = await _Teller(run=run, record=record, forge=forge, services=services).tell()
    except (RateLimited, Unavailable, Upstream, Conflict) as error:
        _log.info("telling waits", extra={"run_id": run_id, "reason": error.code})
        seconds = error.retry_after if isinstance(error, RateLimited) else LOOK_AGAIN / SECOND
        due_at = later(services.clock(), seconds * SECOND)
    await announcements.change(run_id, lambda now: replace(now, due_at=due_at, busy_until=EPOCH))
    if due_at is not None and (run.ended or due_at - services.clock() <= LOOK_AGAIN):
        await nudge_at(run_id, due_at, services)


def _alone(record: Announcement, now: Instant) -> Announcement:
    if record.busy_until > now:
        raise RateLimited("Somebody else is telling.", code="telling_busy", retry_after=2.0)
    return record.held(now)


@dataclass(slots=True, kw_only=True)
class _Teller:
    run: Run
    record: Announcement
    forge: RepositoryForge
    services: Services

    async def tell(self) -> Instant | None:
        """Takes all steps that can be taken; returns when to look again, None when nothing is left to tell."""
        await self._once("receipt", self._receipt)
        if self.run.started_at:
            await self._once("unlabel", self._unlabel)
        wait = await StatusComment(run=self.run, forge=self.forge, services=self.services).show()
        if not self.run.ended:
            return later(self.services.clock(), wait or LOOK_AGAIN)
        for comment in self._threads():
            await self._once(f"reply {comment}", partial(self._reply, comment))
        await self._once("dress", self._dress)
        await self._once("human", self._call_human)
        await self._once("check", self._check)
        await self._once("verdict", self._verdict)
        return await self._look_for_checks()

    async def _once(self, step: str, action: Callable[[], Awaitable[None]]) -> None:
        """Takes a step that was not taken yet. What the forge will never allow is not tried again."""
        if self.record.did(step):
            return
        try:
            await action()
        except (NotFound, Forbidden, Invalid) as error:
            _log.warning(
                "a step of telling is left out", extra={"run_id": self.run.id, "step": step, "reason": error.message}
            )
        await self._note(lambda record: record.having(step))

    async def _note(self, rule: Callable[[Announcement], Announcement]) -> None:
        now = self.services.clock()
        self.record = await self.services.telling.announcements.change(self.run.id, lambda one: rule(one).held(now))

    async def _begin(self, step: str) -> Instant | None:
        """Notes that ``step`` is tried; returns since when, if it was tried before."""
        before = self.record.since if self.record.trying == step else None
        now = self.services.clock()
        await self._note(lambda record: record.begun(step, now))
        return before

    async def _spend(self, weight: Weight, writes: int = 1) -> None:
        paces, now = self.services.telling.paces, self.services.clock()
        await paces.spend(self.record.installation_id, writes=writes, weight=weight, now=now)

    async def _receipt(self) -> None:
        await self._spend(Weight.RECEIPT)
        await self._react(Reaction.EYES)

    async def _verdict(self) -> None:
        try:
            await self._spend(Weight.PROGRESS)
        except RateLimited:
            return  # the comment says it, too
        await self._react(Reaction.ROCKET if was_good(self.run) else Reaction.CONFUSED)

    async def _react(self, reaction: Reaction) -> None:
        origin = self.run.origin
        if not origin.comment:
            await self.forge.react(Spoken.ISSUE, origin.issue, reaction)
        else:
            spoken = Spoken.REVIEW_COMMENT if origin.in_thread else Spoken.COMMENT
            await self.forge.react(spoken, origin.comment, reaction)

    async def _unlabel(self) -> None:
        if label := self.run.origin.label:
            await self._spend(Weight.RECEIPT)
            await self.forge.remove_label(self.run.origin.issue, label)

    def _threads(self) -> tuple[int, ...]:
        """The comments on lines that asked for this run, each of which gets an answer."""
        origin, asks = self.run.origin, self.run.asks
        first = (origin.comment,) if origin.in_thread else ()
        return tuple(dict.fromkeys((*first, *(ask.id for ask in asks if ask.via is Via.LINE and ask.id))))

    async def _reply(self, comment: int) -> None:
        """The answer where the question was asked, and the thread is resolved if the work was done."""
        run, pull = self.run, self.run.origin.issue
        before = await self._begin(f"reply {comment}")
        await self._spend(Weight.RESULT, writes=2)
        thread = await self.forge.thread_of(pull, comment)
        if before is None or not await self._answered_since(before, thread):
            await self.forge.reply(pull, comment, thread_answer(run, await surroundings(run, self.services)))
        if run.state is State.SUCCEEDED and thread is not None and not thread.resolved:
            await self.forge.resolve_thread(thread.id)

    async def _answered_since(self, moment: Instant, thread: Thread | None) -> bool:
        name = (await (await self.services.forge()).bot_identity()).name
        said = await self.forge.review_comments_since(self.run.origin.issue, later(moment, -_SEARCH_MARGIN))
        here = frozenset() if thread is None else frozenset(thread.comments)
        return any(one.id in here and one.author == name and is_answer(one.body, self.run) for one in said)

    async def _dress(self) -> None:
        """Labels, reviewers and assignee of a new pull request. One that the forge refuses does not keep back the others."""
        run, policy = self.run, self.services.settings.publishing
        if run.state is not State.SUCCEEDED or run.delivered is None or run.delivered.number == run.origin.issue:
            return
        number = run.delivered.number
        actions: list[Callable[[], Awaitable[None]]] = []
        if policy.labels:
            actions.append(lambda: self.forge.add_labels(number, policy.labels))
        if policy.reviewers or policy.team_reviewers:
            actions.append(lambda: self.forge.request_reviewers(number, policy.reviewers, policy.team_reviewers))
        if policy.assign_requester:
            actions.append(lambda: self.forge.assign(number, [run.origin.actor]))
        if actions:
            await self._spend(Weight.RECEIPT, writes=len(actions))
        for act in actions:
            try:
                await act()
            except (NotFound, Forbidden, Invalid) as error:
                _log.warning("a pull request is not dressed", extra={"run_id": run.id, "reason": error.message})

    async def _call_human(self) -> None:
        """A label that people filter by, where the platform has given up."""
        if self.run.reason is not None and self.run.reason.code == NEEDS_HUMAN:
            await self._spend(Weight.RESULT)
            await self.forge.add_labels(self.run.origin.issue, [self.services.settings.needs_human_label])

    async def _check(self) -> None:
        head = self._head()
        if not head:
            return
        before = await self._begin("check")
        if before is not None and any(check.external_id == self.run.id for check in await self.forge.checks_on(head)):
            return
        await self._spend(Weight.RECEIPT)
        around = await surroundings(self.run, self.services)
        await self.forge.add_check(
            NewCheck(
                name=CHECK_NAME,
                head_sha=head,
                external_id=self.run.id,
                conclusion=_CONCLUSIONS.get(self.run.state, Conclusion.FAILURE),
                title=check_title(self.run),
                summary=check_summary(self.run, around),
                details_url=around.run_url,
            )
        )

    def _head(self) -> str:
        """The commit that the run's outcome is about: what it pushed, or the head of the pull request it was asked on."""
        if self.run.delivered is not None:
            return self.run.delivered.head_sha
        return self.run.base_sha if self.run.origin.pull else ""

    async def _look_for_checks(self) -> Instant | None:
        """Nothing is left once checks were seen, or it has been said that there are none."""
        run = self.run
        if self.record.did("checks") or run.state is not State.SUCCEEDED or run.delivered is None:
            return None
        assert run.finished_at is not None
        moment = later(run.finished_at, CHECKS_GRACE)
        if self.services.clock() < moment:
            return moment
        await self._once("checks", self._say_missing_checks)
        return None

    async def _say_missing_checks(self) -> None:
        """Only where checks run at all: the commit that the work is based on had some, and ours has none."""
        run = self.run
        assert run.delivered is not None
        if await self._others(run.delivered.head_sha) or not await self._others(run.base_sha):
            return
        await StatusComment(
            run=run, forge=self.forge, services=self.services, checks_missing=run.delivered.head_sha
        ).show()

    async def _others(self, ref: str) -> bool:
        return any(check.name != CHECK_NAME for check in await self.forge.checks_on(ref))
