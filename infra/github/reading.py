"""The reading part of one repository (``infra.core.reading.Reading``)."""

from __future__ import annotations

from infra.core.errors import Invalid, NotFound
from infra.github import reading_calls as calls
from infra.github.sending import Sending


class Reading(Sending):
    async def changed_files(self, pull: int) -> tuple[str, ...]:
        changes = await self._collect(calls.changed_files(self._repository, pull))
        return tuple(path for names in changes for path in names)

    async def in_team(self, team: str, login: str) -> bool:
        try:
            return await self._send(calls.membership(self._repository.owner, team, login))
        except NotFound:
            return False

    async def app_behind(self, login: str) -> int:
        try:
            return await self._send(calls.app_behind(login))
        except (Invalid, NotFound):
            return 0
