"""What is read on the forge about an issue or a pull request, and about who acts there."""

from __future__ import annotations

from typing import Protocol

from infra.core.ask import Via
from infra.core.context import LineSaid, Linked, Said


class Reading(Protocol):
    """All calls raise what ``infra.core.forge.RepositoryForge`` says."""

    async def changed_files(self, pull: int) -> tuple[str, ...]:
        """Paths that a pull request changes, a renamed file under both names; at most the first thousand."""
        ...

    async def in_team(self, team: str, login: str) -> bool:
        """Whether somebody is an active member of a team (by its slug) of the repository's organization.

        Raises ``Forbidden`` where the App may not see members.
        """
        ...

    async def app_behind(self, login: str) -> int:
        """Id of the App whose bot has this login (``name[bot]``); 0 when it is nobody's. The forge says so, not the login."""
        ...

    async def said_on(self, number: int) -> tuple[Said, ...]:
        """The comments of an issue's or a pull request's conversation; at most a thousand."""
        ...

    async def lines_said_on(self, pull: int) -> tuple[LineSaid, ...]:
        """The comments on lines of a pull request; at most a thousand."""
        ...

    async def linked(self, number: int) -> Linked:
        """An issue or pull request of the same repository."""
        ...

    async def annotations(self, check: int) -> tuple[str, ...]:
        """What a check run has noted, one line each (``path:line: message``); the first hundred."""
        ...

    async def job_log(self, job: int, most: int) -> str:
        """The end of a GitHub Actions job's log. Raises ``NotFound`` where there is none (any more)."""
        ...

    async def pictures(self, via: Via, number: int, texts: tuple[str, ...], most: int) -> tuple[bytes, ...]:
        """Pictures that ``texts`` show: those of an issue, comment, line comment or review (``number``: of the issue or pull
        request, else the comment's id). Only what is on the forge's own hosts; each has at most ``most`` bytes."""
        ...
