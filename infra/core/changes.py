"""What an agent changed, file by file, as git saw it; and the paths that decide over others and so need a second look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChangeKind(StrEnum):
    """``MODE``: the content is the same, only the executable bit changed. ``RETYPED``: a file became a link, or the like."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    MODE = "mode"
    RETYPED = "retyped"


class FileType(StrEnum):
    FILE = "file"
    EXECUTABLE = "executable"
    SYMLINK = "symlink"
    SUBMODULE = "submodule"


# Files that configure CI, reviews, hooks or the next agent: they act for whoever runs them, before anybody reads them.
_PROTECTED_FOLDERS = (
    ".github/workflows/",
    ".github/actions/",
    ".claude/",
    ".husky/",
    ".githooks/",
    ".git-hooks/",
    ".hooks/",
)
# https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
_PROTECTED_FILES = frozenset(
    {
        "codeowners",
        ".github/codeowners",
        "docs/codeowners",
        ".github/dependabot.yml",
        ".mcp.json",
        ".gitmodules",
        ".pre-commit-config.yaml",
        "lefthook.yml",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """``path``: text for people, bytes that are no UTF-8 shown as ``\\xNN``. Lines are 0 for binary files."""

    path: str
    kind: ChangeKind
    type: FileType
    lines_added: int
    lines_removed: int
    binary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The difference between the base commit and what the agent left, already stored as the git tree ``tree_sha``.

    ``set_aside``: what was found but cannot or must not be published (nested ``.git`` folders, pipes, sockets, devices).
    """

    base_sha: str
    tree_sha: str
    files: tuple[FileChange, ...]
    set_aside: tuple[str, ...] = ()

    @property
    def files_changed(self) -> int:
        return len(self.files)

    @property
    def lines_added(self) -> int:
        return sum(file.lines_added for file in self.files)

    @property
    def lines_removed(self) -> int:
        return sum(file.lines_removed for file in self.files)

    @property
    def modes_only(self) -> bool:
        """Nothing but executable bits changed."""
        return all(file.kind is ChangeKind.MODE for file in self.files)

    @property
    def protected(self) -> tuple[str, ...]:
        """The changed paths that need a second look, in order."""
        return tuple(file.path for file in self.files if is_protected(file.path))


def is_protected(path: str) -> bool:
    """Compared without case, because a clone on macOS or Windows makes no difference either.

    CODEOWNERS counts where GitHub reads it; the folders of agents and hooks count at any depth.
    """
    folded = path.casefold()
    if folded in _PROTECTED_FILES or folded.rsplit("/", 1)[-1] == ".mcp.json":
        return True
    return any(folded.startswith(folder) or f"/{folder}" in folded for folder in _PROTECTED_FOLDERS)
