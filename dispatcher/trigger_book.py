"""What starts runs in which project: looked up in memory, else in the store, else on the project's default branch.

The door has to know a project's triggers for every delivery and must not ask GitHub for them each time. So they are read
when a push to the default branch may have changed them, when the App comes to a repository, and when nobody has looked for
hours; in between they come from a record in the store, and for half a minute from memory (docs/adr/0014).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from infra.core.clock import HOUR, SECOND, Clock, Instant, later
from infra.core.errors import Invalid, PullwrightError
from infra.core.forge import Forge, RepositoryForge
from infra.core.repository import Repository
from infra.core.triggers import PATH, Triggers
from infra.records.projects import Project, Projects

REMEMBERED = 30 * SECOND
STALE = 6 * HOUR
NOT_AGAIN = 60 * SECOND
"""After GitHub could not be asked: so long what is known goes on, or the defaults."""

ASKING_SECONDS = 4.0
"""GitHub hangs up on a webhook after ten. https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks"""

_CAPACITY = 4_096
_TOLD_ERRORS = 3
_log = logging.getLogger("dispatcher")


@dataclass(frozen=True, slots=True)
class InForce:
    """The triggers that hold now. ``problem``: why they are not those of the project's file; empty when they are."""

    triggers: Triggers
    problem: str = ""


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: Instant = Instant(0)  # noqa: RUF009 - a number, immutable
    known: InForce | None = None


Reach = Callable[[], Awaitable[Forge]]
"""How to get at GitHub, should it have to be asked."""


class TriggerBook:
    """``defaults`` hold for projects without a file."""

    def __init__(self, *, projects: Projects, defaults: Triggers, clock: Clock) -> None:
        self._projects = projects
        self._defaults = defaults
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def of(self, repository: Repository, installation_id: int, reach: Reach) -> InForce:
        """Never fails for want of an answer from GitHub: then what was known before holds, and ``problem`` says so."""
        entry = self._entry(repository)
        if entry.known is None or entry.until <= self._clock():
            async with entry.lock:
                if entry.known is None or entry.until <= self._clock():
                    await self._look(entry, repository, installation_id, reach)
        assert entry.known is not None
        return entry.known

    async def refresh(self, repository: Repository, installation_id: int, reach: Reach) -> None:
        """Reads the file now; should that fail, the next delivery tries again."""
        entry = self._entry(repository)
        async with entry.lock:
            before = await self._projects.find(str(repository))
            await self._read(entry, before, repository, installation_id, reach)

    async def forget(self, repository: Repository) -> None:
        """The App was taken from the repository, or it is gone."""
        self._entries.pop(str(repository).lower(), None)
        await self._projects.forget(str(repository))

    def _entry(self, repository: Repository) -> _Entry:
        key = str(repository).lower()
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > _CAPACITY:
            self._entries.popitem(last=False)
        return entry

    async def _look(self, entry: _Entry, repository: Repository, installation_id: int, reach: Reach) -> None:
        project = await self._projects.find(str(repository))
        if project is None or project.read_at + STALE <= self._clock():
            await self._read(entry, project, repository, installation_id, reach)
        else:
            self._hold(entry, project, project.problem, REMEMBERED)

    async def _read(
        self, entry: _Entry, before: Project | None, repository: Repository, installation_id: int, reach: Reach
    ) -> None:
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                forge = (await reach()).on(installation_id, repository)
                found = await self._ask(forge, repository, installation_id, before)
        except (PullwrightError, TimeoutError) as error:
            reason = error.message if isinstance(error, PullwrightError) else "GitHub did not answer in time."
            _log.warning("triggers not read", extra={"repository": str(repository), "reason": reason})
            self._hold(entry, before, f"{PATH} could not be read: {reason}", NOT_AGAIN)
            return
        await self._projects.keep(found)
        self._hold(entry, found, found.problem, REMEMBERED)

    async def _ask(
        self, forge: RepositoryForge, repository: Repository, installation_id: int, before: Project | None
    ) -> Project:
        problem, triggers = "", None
        try:
            content = await forge.file(PATH, "")
            triggers = _read_file(content) if content is not None else None
        except Invalid as error:
            problem, triggers = f"{error.message} {error.hint}".strip(), before.triggers if before else None
        return Project(
            full_name=str(repository),
            installation_id=installation_id,
            triggers=triggers,
            problem=problem,
            read_at=self._clock(),
        )

    def _hold(self, entry: _Entry, project: Project | None, problem: str, milliseconds: int) -> None:
        triggers = project.triggers if project and project.triggers else self._defaults
        entry.known, entry.until = InForce(triggers, problem), later(self._clock(), milliseconds)


def _read_file(content: bytes) -> Triggers:
    """Raises ``Invalid`` with the lines that are wrong."""
    from infra.core.triggers_file import check_triggers
    from infra.documents import read_yaml

    checked = check_triggers(read_yaml(content))
    if errors := checked.findings.errors:
        told = [each.told(PATH) for each in errors[:_TOLD_ERRORS]]
        raise Invalid(told[0], code="invalid_triggers", hint=" ".join(told[1:]))
    return checked.triggers
