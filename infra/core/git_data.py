"""Commits made through the forge's API instead of a push: the forge signs them as the App's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One path of a new tree. ``mode``: 100644, 100755 or 120000; ``text`` or ``blob`` holds its content, and neither of them
    that the path is removed."""

    path: str
    mode: str
    text: str | None = None
    blob: str = ""


class GitData(Protocol):
    """All calls raise what ``infra.core.forge.RepositoryForge`` says. Making the same object twice gives the same object."""

    async def create_blob(self, content: bytes) -> str:
        """Its SHA."""
        ...

    async def create_tree(self, base: str, entries: Sequence[TreeEntry]) -> str:
        """``base``: the tree that is changed. Returns the new tree's SHA."""
        ...

    async def create_commit(self, *, message: str, tree: str, parent: str) -> str:
        """Without author and committer, which is what makes the forge sign it. Returns its SHA.
        https://docs.github.com/en/authentication/managing-commit-signature-verification/about-commit-signature-verification#signature-verification-for-bots"""
        ...

    async def create_branch(self, name: str, sha: str) -> None:
        """Raises ``Invalid`` when it exists."""
        ...

    async def move_branch(self, name: str, sha: str) -> None:
        """Forward only: raises ``Invalid`` when ``sha`` does not come from what is there."""
        ...
