"""Differences between commits, remembered: commits never change, so an answer stays right."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, TypeVar

from infra.local.forge.git import diff, merge
from infra.local.forge.git.diff import FileChange, Totals
from infra.local.forge.git.processes import Git, GitFailed

_KEPT = 256

V = TypeVar("V")
_Key = tuple[int, str, str]


class _Recent(Generic[V]):
    """The newest answers to one question about (repository, base, head)."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, V] = OrderedDict()

    async def get(self, key: _Key, ask: Callable[[], Awaitable[V]]) -> V:
        if key not in self._known:
            self._known[key] = await ask()
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]


class Differences:
    """All compare ``head`` with the point where it left ``base``, as pull requests do."""

    def __init__(self, git: Git, directory: Callable[[int], Path]) -> None:
        self._git = git
        self._directory = directory
        self._totals: _Recent[Totals] = _Recent()
        self._files: _Recent[list[FileChange]] = _Recent()
        self._mergeable: _Recent[bool | None] = _Recent()

    async def totals(self, repository: int, base: str, head: str) -> Totals:
        where = self._directory(repository)
        return await self._totals.get((repository, base, head), lambda: diff.totals(self._git, where, base, head))

    async def files(self, repository: int, base: str, head: str) -> list[FileChange]:
        where = self._directory(repository)

        async def ask() -> list[FileChange]:
            return await diff.files(self._git, where, await self.start(repository, base, head), head)

        return await self._files.get((repository, base, head), ask)

    async def text(self, repository: int, base: str, head: str) -> bytes:
        return await diff.text(self._git, self._directory(repository), await self.start(repository, base, head), head)

    async def start(self, repository: int, base: str, head: str) -> str:
        """Where ``head`` left ``base``; ``base`` itself when their histories never met."""
        return await diff.merge_base(self._git, self._directory(repository), base, head) or base

    async def mergeable(self, repository: int, base: str, head: str) -> bool | None:
        """None when this git cannot tell (before 2.38), as GitHub says while it is still computing."""

        async def ask() -> bool | None:
            try:
                return await merge.merged_tree(self._git, self._directory(repository), base, head) is not None
            except GitFailed:
                return None

        return await self._mergeable.get((repository, base, head), ask)
