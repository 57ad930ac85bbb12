"""What is known of a project (a repository and its settings): the triggers as they were last read from its default branch.

The record is what every instance agrees on; ``dispatcher/engine/projects.py`` says when it is read anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.clock import Instant
from infra.core.store import Delete, Documents, Put
from infra.core.triggers import Triggers
from infra.records.codec import decode, encode

COLLECTION = "projects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """``triggers`` None: the project has no file, the operator's defaults hold. ``problem``: why the file that is there cannot be
    used; then the triggers before it go on. ``read_at``: when the default branch was last asked."""

    full_name: str
    installation_id: int
    triggers: Triggers | None
    problem: str
    read_at: Instant


@dataclass(frozen=True, slots=True)
class Projects:
    store: Documents

    async def find(self, full_name: str) -> Project | None:
        document = await self.store.get(_path(full_name))
        return decode(document, Project) if document else None

    async def keep(self, project: Project) -> None:
        await self.store.commit(Put(_path(project.full_name), encode(project)))

    async def forget(self, full_name: str) -> None:
        """The App was taken away, or the repository is gone or has another name."""
        await self.store.commit(Delete(_path(full_name)))


def _path(full_name: str) -> str:
    owner, _, name = full_name.lower().partition("/")
    return f"{COLLECTION}/{owner}:{name}"
