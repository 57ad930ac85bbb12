"""The conversational part of one repository (``infra.core.conversing.Conversing``)."""

from __future__ import annotations

from collections.abc import Sequence

from infra.core.clock import Instant
from infra.core.conversing import CheckRun, Comment, NewCheck, Reaction, Relation, Spoken, Thread
from infra.core.errors import NotFound
from infra.github import conversation_calls as calls
from infra.github import graphql
from infra.github.sending import Sending


class Conversing(Sending):
    async def comment(self, issue: int, body: str) -> int:
        return await self._send(calls.comment(self._repository, issue, body))

    async def edit_comment(self, comment: int, body: str) -> None:
        await self._send(calls.edit_comment(self._repository, comment, body))

    async def comments_since(self, issue: int, since: Instant) -> tuple[Comment, ...]:
        return await self._collect(calls.comments_since(self._repository, issue, since))

    async def react(self, spoken: Spoken, number: int, reaction: Reaction) -> None:
        await self._send(calls.react(self._repository, spoken, number, reaction))

    async def add_labels(self, issue: int, names: Sequence[str]) -> None:
        await self._send(calls.add_labels(self._repository, issue, names))

    async def remove_label(self, issue: int, name: str) -> None:
        try:
            await self._send(calls.remove_label(self._repository, issue, name))
        except NotFound as error:
            if error.code == "github_moved":
                raise

    async def assign(self, issue: int, logins: Sequence[str]) -> None:
        await self._send(calls.assign(self._repository, issue, logins))

    async def request_reviewers(self, pull: int, logins: Sequence[str], teams: Sequence[str]) -> None:
        await self._send(calls.request_reviewers(self._repository, pull, logins, teams))

    async def reply(self, pull: int, comment: int, body: str) -> int:
        return await self._send(calls.reply(self._repository, pull, comment, body))

    async def review_comments_since(self, pull: int, since: Instant) -> tuple[Comment, ...]:
        return await self._collect(calls.review_comments_since(self._repository, pull, since))

    async def thread_of(self, pull: int, comment: int) -> Thread | None:
        return await self._send(graphql.thread_of(self._repository, pull, comment))

    async def resolve_thread(self, thread: str) -> None:
        await self._send(graphql.resolve_thread(thread))

    async def add_check(self, check: NewCheck) -> int:
        return await self._send(calls.add_check(self._repository, check))

    async def checks_on(self, ref: str, *, newest: bool = True) -> tuple[CheckRun, ...]:
        return await self._send(calls.checks_on(self._repository, ref, newest=newest))

    async def rerun_check(self, check: CheckRun) -> None:
        await self._send(calls.rerun_check(self._repository, check))

    async def compare(self, base: str, head: str) -> Relation:
        return await self._send(calls.compare(self._repository, base, head))
