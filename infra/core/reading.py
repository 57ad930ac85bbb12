"""What is read on the forge about an issue or a pull request, and about who acts there."""

from __future__ import annotations

from typing import Protocol


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
