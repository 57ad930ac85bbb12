"""The platform's one comment in a conversation: found or made, and edited when there is something new."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dispatcher.engine.repair import NEEDS_HUMAN
from dispatcher.services import Services
from infra.core.announcement import Conversation, Told, next_edit, taken, with_told
from infra.core.clock import MINUTE, SECOND, later
from infra.core.content_pace import Weight
from infra.core.errors import NotFound, RateLimited
from infra.core.forge import RepositoryForge
from infra.core.run import Run, State
from infra.core.status_comment import MAX_PATCH_CHARS, Surroundings, is_marked, status_comment, told

PATCH = "change.patch"
SHOWN_PATCHES = frozenset(
    {"blocked_protected_paths", "blocked_excluded_path", "blocked_too_large", "blocked_too_many_files"}
)
"""Reasons after which the work itself is harmless to show. A change with a secret in it is not among them."""

_HOLD = 90 * SECOND
_SEARCH_MARGIN = 1 * MINUTE


async def surroundings(run: Run, services: Services, earlier: Sequence[Told] = ()) -> Surroundings:
    """What the words about a run need beside the run."""
    return Surroundings(
        run_url=f"{services.settings.own_url}/api/runs/{run.id}",
        position=await services.runs.waiting_before(run) if run.state is State.QUEUED else None,
        checklist=() if run.ended else await services.telling.checklists.of(run.id),
        patch=await _patch(run, services),
        needs_human=run.reason is not None and run.reason.code == NEEDS_HUMAN,
        rehearsal=services.settings.rehearsal,
        earlier=earlier,
    )


async def _patch(run: Run, services: Services) -> str:
    """The kept work of a run that was stopped; longer than ``MAX_PATCH_CHARS`` means: too long to show."""
    if run.state is not State.BLOCKED or run.reason is None or run.reason.code not in SHOWN_PATCHES:
        return ""
    key, parts, size = f"runs/{run.id}/{PATCH}", [], 0
    if await services.bucket.stat(key) is None:
        return ""
    async for part in services.bucket.open(key):
        parts.append(part)
        size += len(part)
        if size > 4 * MAX_PATCH_CHARS:
            break
    return b"".join(parts).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusComment:
    run: Run
    forge: RepositoryForge
    services: Services
    checks_missing: str = ""

    async def show(self) -> int:
        """Makes the comment say what is true now. Returns the milliseconds after which that may be tried, 0 when it is done.

        Raises ``RateLimited`` while somebody else is at it or nothing may be written, and what the forge raises.
        """
        now = self.services.clock()
        conversation = await self._change(lambda one: taken(one, now, _HOLD))
        if conversation is None:
            raise RateLimited("Somebody else is writing the comment.", code="conversation_busy", retry_after=2.0)
        try:
            return await self._show(conversation)
        finally:
            await self._change(lambda one: replace(one, busy_until=now))

    async def _show(self, conversation: Conversation) -> int:
        run = self.run
        if conversation.current is not None and conversation.current > run.id:
            # a later run has the comment; an end that is told late only joins the list
            if run.ended:
                await self._change(lambda one: with_told(one, told(run)))
            return 0
        around = await surroundings(run, self.services, conversation.earlier)
        text = status_comment(run, replace(around, checks_missing=self.checks_missing))
        said = hashlib.sha256(text.encode()).hexdigest()[:16]
        now = self.services.clock()
        if conversation.comment and conversation.said == said:
            return 0
        if wait := next_edit(conversation, run, now):
            return wait
        weight = Weight.RESULT if run.ended else Weight.PROGRESS if conversation.comment else Weight.RECEIPT
        await self.services.telling.paces.spend(run.installation_id, writes=1, weight=weight, now=now)
        number = await self._edited(conversation, text) or await self._written(conversation, text)

        def shown(one: Conversation) -> Conversation:
            one = replace(one, comment=number, begun_at=None, said=said, edited_at=now, current=run.id)
            return with_told(one, told(run)) if run.ended else one

        await self._change(shown)
        return 0

    async def _edited(self, conversation: Conversation, text: str) -> int:
        """The known comment with its new text; 0 when there is none (any more)."""
        if not conversation.comment:
            return 0
        try:
            await self.forge.edit_comment(conversation.comment, text)
        except NotFound as error:
            if error.code == "github_moved":
                raise
            return 0
        return conversation.comment

    async def _written(self, conversation: Conversation, text: str) -> int:
        """A new comment – or the one whose answer was lost, found by its marker and its author."""
        number, now = self.run.origin.issue, self.services.clock()
        if conversation.begun_at is not None:
            name = (await (await self.services.forge()).bot_identity()).name
            since = later(conversation.begun_at, -_SEARCH_MARGIN)
            for comment in await self.forge.comments_since(number, since):
                if comment.author == name and is_marked(comment.body, self.run.full_name, number):
                    await self.forge.edit_comment(comment.id, text)
                    return comment.id
        await self._change(lambda one: replace(one, comment=0, begun_at=one.begun_at or now))
        return await self.forge.comment(number, text)

    async def _change(self, rule: Callable[[Conversation], Conversation | None]) -> Conversation | None:
        conversations = self.services.telling.conversations
        return await conversations.change(self.run.full_name, self.run.origin.issue, rule)
