"""The index ``rehearsal.toml`` as types: which repositories exist, which issues they have, what the demo asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

_HERE = Path(__file__).parent
SCRIPTS = _HERE / "scripts"

FullName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$")]
NonEmpty = Annotated[str, Meta(min_length=1)]


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all entries: unknown keys are errors."""


class SeedIssue(_Entry, frozen=True, kw_only=True):
    title: NonEmpty
    body: NonEmpty
    labels: tuple[NonEmpty, ...] = ()


class SeedRepository(_Entry, frozen=True, kw_only=True):
    """``name`` is owner/name; ``folder`` holds its files as they are to be committed on ``default_branch``."""

    name: FullName
    folder: NonEmpty
    description: NonEmpty
    default_branch: NonEmpty = "main"
    issues: tuple[SeedIssue, ...] = ()

    @property
    def path(self) -> Path:
        return _HERE / self.folder

    def files(self) -> Iterator[tuple[str, bytes]]:
        """(path inside the repository with slashes, content) of every file, in the order of the paths."""
        for file in sorted(self.path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(self.path).as_posix(), file.read_bytes()


class Demo(_Entry, frozen=True, kw_only=True):
    """The dispatch call of the demo: on which repository, with which task text."""

    repository: FullName
    context: NonEmpty


class Rehearsal(_Entry, frozen=True, kw_only=True):
    demo: Demo
    repositories: Annotated[tuple[SeedRepository, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.demo.repository not in self.by_name:
            raise ValueError(f"the demo's repository {self.demo.repository} is not among the repositories")

    @property
    def by_name(self) -> Mapping[str, SeedRepository]:
        return {repository.name: repository for repository in self.repositories}


def load_rehearsal() -> Rehearsal:
    return msgspec.convert(tomllib.loads((_HERE / "rehearsal.toml").read_text("utf-8")), Rehearsal)
