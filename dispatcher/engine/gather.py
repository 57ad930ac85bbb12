"""Gathers what an agent should know about its run, when a runner claims: the conversation, threads, checks, pictures, guidance.

The run does not depend on any of it. What cannot be had is left out, and the prompt says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

from dispatcher.services import Services
from infra.core.artifacts import ATTACHMENTS, artifact_key
from infra.core.ask import Via
from infra.core.clock import Instant
from infra.core.context import (
    CHECK_CHARS,
    GUIDANCE,
    GUIDANCE_CHARS,
    LINKED_CHARS,
    MOST_CHECKS,
    MOST_PICTURES,
    PICTURE_BYTES,
    Context,
    FailedCheck,
    LineSaid,
    Linked,
    Said,
    head,
    kind_of_picture,
    known_then,
    links,
    tail,
    threads_of,
)
from infra.core.conversing import CheckRun
from infra.core.errors import PullwrightError
from infra.core.forge import RepositoryForge
from infra.core.hidden_text import Removal, notice
from infra.core.repository import Repository
from infra.core.run import Run
from infra.core.triggers import FAILURES

ALL_SECONDS = 15.0
"""A runner that claims is waiting."""

_LOG_BYTES = 40_000
_ACTIONS = "github-actions"
_log = logging.getLogger("dispatcher")


async def gather(run: Run, services: Services) -> Context:
    """Never fails; takes at most ``ALL_SECONDS``. Pictures are kept with the run's artifacts."""
    if not run.asks:
        return Context()
    forge = (await services.forge()).on(run.installation_id, Repository(owner=run.owner, name=run.repo))
    gathering = _Gathering(run=run, forge=forge, services=services)
    await asyncio.gather(
        gathering.part("the conversation", gathering.conversation),
        gathering.part("the review threads", gathering.threads),
        gathering.part("what is mentioned", gathering.linked),
        gathering.part("the failed checks", gathering.checks),
        gathering.part("the pictures", gathering.pictures),
        gathering.part("the project's guidance", gathering.guidance),
    )
    return gathering.result()


@dataclass(slots=True, kw_only=True)
class _Gathering:
    run: Run
    forge: RepositoryForge
    services: Services
    found: Context = field(default_factory=Context)
    missing: list[str] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)

    async def part(self, name: str, action: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(ALL_SECONDS):
                await action()
        except (PullwrightError, TimeoutError) as error:
            reason = error.message if isinstance(error, PullwrightError) else "GitHub did not answer in time."
            _log.warning("context incomplete", extra={"run_id": self.run.id, "part": name, "reason": reason})
            self.missing.append(f"({name[0].upper()}{name[1:]} could not be read.)")

    def result(self) -> Context:
        hidden = notice(self.removed, "conversation")
        return replace(self.found, missing=(*sorted(self.missing), *((hidden,) if hidden else ())))

    async def conversation(self) -> None:
        if not self.run.origin.issue:
            return
        us = (await (await self.services.forge()).bot_identity()).name
        said = await self.forge.said_on(self.run.origin.issue)
        own = (ask.id for ask in self.run.asks if ask.via is Via.COMMENT)
        kept = known_then(said, self._asked_at(), own, us)
        self.found = replace(self.found, said=tuple(map(self._visible, kept)))

    async def threads(self) -> None:
        run = self.run
        if not run.origin.pull:
            return
        lines = await self.forge.lines_said_on(run.origin.issue)
        asked_at = self._asked_at()
        then = [line for line in lines if line.said.written_at <= asked_at and line.said.changed_at <= asked_at]
        about = {ask.id for ask in run.asks if ask.via is Via.LINE}
        threads = threads_of(map(self._visible_line, then), about)
        self.found = replace(self.found, threads=threads)

    async def linked(self) -> None:
        run = self.run
        url = f"{self.services.settings.github_url.rstrip('/')}/{run.full_name}"
        numbers = links([*(ask.text for ask in run.asks), run.about], url, run.origin.issue)
        items: list[Linked] = []
        for number in numbers:
            try:
                item = await self.forge.linked(number)
            except PullwrightError:
                continue  # most numbers in texts are no issues
            items.append(replace(item, title=self._clean(item.title), text=head(self._clean(item.text), LINKED_CHARS)))
        self.found = replace(self.found, linked=tuple(items))

    async def checks(self) -> None:
        """Those of the commit that the run is about, if somebody asked because of them."""
        sha = next((ask.head for ask in self.run.asks if ask.via is Via.CHECK and ask.head), "")
        if not sha:
            return
        failed = [check for check in await self.forge.checks_on(sha) if check.conclusion in FAILURES]
        reports = [
            FailedCheck(name=check.name, conclusion=check.conclusion, report=await self._report(check))
            for check in failed[:MOST_CHECKS]
        ]
        self.found = replace(self.found, checks=tuple(reports))

    async def pictures(self) -> None:
        names: list[str] = []
        async for content in self._pictures():
            kind = kind_of_picture(content)
            if kind and len(names) < MOST_PICTURES:
                name = f"picture-{len(names) + 1}.{kind}"
                await self._keep(name, content, f"image/{'jpeg' if kind == 'jpg' else kind}")
                names.append(name)
        self.found = replace(self.found, pictures=tuple(names))

    async def guidance(self) -> None:
        ref = self.run.head.base_branch if self.run.head else ""
        for path in GUIDANCE:
            content = await self.forge.file(path, ref)
            if content is not None:
                text = head(content.decode(errors="replace"), GUIDANCE_CHARS)
                self.found = replace(self.found, guidance=text.strip(), guidance_file=path)
                return

    async def _report(self, check: CheckRun) -> str:
        notes = await self.forge.annotations(check.id)
        parts = [check.title, check.summary, *notes]
        if check.app == _ACTIONS:
            try:
                parts.append(await self.forge.job_log(check.id, _LOG_BYTES))
            except PullwrightError as error:
                parts.append(f"(Its log could not be read: {error.message})")
        return tail(self._clean("\n".join(part for part in parts if part)), CHECK_CHARS)

    async def _pictures(self) -> AsyncIterator[bytes]:
        for ask in self.run.asks:
            number = ask.id if ask.via in {Via.COMMENT, Via.LINE} else self.run.origin.issue
            if number and ask.via is not Via.REVIEW:
                for content in await self.forge.pictures(ask.via, number, (ask.text,), PICTURE_BYTES):
                    yield content

    async def _keep(self, name: str, content: bytes, content_type: str) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        await self.services.bucket.put(
            artifact_key(self.run.id, f"{ATTACHMENTS}{name}"),
            once(),
            content_type=content_type,
            max_bytes=PICTURE_BYTES,
        )

    def _asked_at(self) -> Instant:
        """The moment that the run is about: its newest ask."""
        return max(ask.at for ask in self.run.asks)

    def _visible(self, said: Said) -> Said:
        return replace(said, text=self._clean(said.text))

    def _visible_line(self, line: LineSaid) -> LineSaid:
        return replace(line, said=self._visible(line.said))

    def _clean(self, text: str) -> str:
        from infra.core.hygiene import clean

        cleaned = clean(text)
        self.removed += cleaned.removed
        return cleaned.text
