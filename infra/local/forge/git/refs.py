"""Branches and tags of all repositories, mirrored in memory so that reading a branch costs no process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.forge.git.processes import Git, GitFailed

NOTHING = "0" * 40
"""What git calls the absent side of a created or deleted ref."""

_FULL = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{4,40}")


@dataclass(frozen=True, slots=True)
class Move:
    """One full ref that went from ``before`` to ``after``; ``NOTHING`` stands for absent."""

    ref: str
    before: str
    after: str

    @property
    def branch(self) -> str | None:
        return self.ref.removeprefix("refs/heads/") if self.ref.startswith("refs/heads/") else None


class Refs:
    """``directory``: repository id → folder of its bare repository."""

    def __init__(self, git: Git, directory: Callable[[int], Path]) -> None:
        self._git = git
        self._directory = directory
        self._known: dict[int, dict[str, str]] = {}
        self._peeled: dict[int, dict[str, str]] = {}

    async def refresh(self, repository: int) -> None:
        """After anything may have moved a ref. Git is the truth, this is its picture."""
        output = await self._git.run(
            self._directory(repository), "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)"
        )
        known, peeled = {}, {}
        for line in output.decode().splitlines():
            name, sha, target = line.split(" ")
            known[name] = sha
            peeled[name] = target or sha
        self._known[repository], self._peeled[repository] = known, peeled

    def all(self, repository: int) -> Mapping[str, str]:
        """Full ref name → object id."""
        return self._known.get(repository, {})

    def branches(self, repository: int) -> dict[str, str]:
        prefix = "refs/heads/"
        known = self.all(repository)
        return {name.removeprefix(prefix): sha for name, sha in known.items() if name.startswith(prefix)}

    def branch(self, repository: int, name: str) -> str | None:
        return self.all(repository).get(f"refs/heads/{name}")

    async def resolve(self, repository: int, text: str) -> str | None:
        """The commit that a branch, tag, full ref or (short) commit id names; nothing else ever reaches a command line."""
        peeled = self._peeled.get(repository, {})
        for name in (f"refs/heads/{text}", f"refs/tags/{text}", text, f"refs/{text}"):
            if name in peeled:
                return peeled[name]
        if text == "HEAD" or _SHORT.fullmatch(text) is None:
            return None
        try:
            output = await self._git.run(
                self._directory(repository),
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                f"{text}^{{commit}}",
            )
        except GitFailed:
            return None
        return output.decode().strip()

    async def move(self, repository: int, name: str, new: str, old: str | None = None) -> None:
        """Sets ``name`` to ``new`` (``NOTHING`` deletes) only if it is still at ``old``. Raises ``GitFailed``."""
        arguments = ("-d", name) if new == NOTHING else (name, new)
        expected = () if old is None else (old,)
        await self._git.run(self._directory(repository), "update-ref", *arguments, *expected)
        await self.refresh(repository)


def is_full_sha(text: str) -> bool:
    return _FULL.fullmatch(text) is not None
