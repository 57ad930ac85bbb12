"""What an agent changed, file by file, as git saw it; and the paths that decide over others and so need a second look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from infra.core.protected_paths import is_protected


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """``path``: text for people, bytes that are no UTF-8 shown as ``\\xNN``. Lines are 0 for binary files.

    ``blob`` and ``base_blob``: the git objects that hold the content after and before, empty where there is none (and for
    submodules); ``size`` and ``base_size`` their bytes.
    """

    path: str
    kind: ChangeKind
    type: FileType
    lines_added: int
    lines_removed: int
    binary: bool
    blob: str = ""
    base_blob: str = ""
    size: int = 0
    base_size: int = 0

    @property
    def bytes_added(self) -> int:
        """How much the file grew; a binary one counts whole, because it is replaced rather than edited."""
        return self.size if self.binary else max(0, self.size - self.base_size)


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
    def bytes_added(self) -> int:
        return sum(file.bytes_added for file in self.files)

    @property
    def modes_only(self) -> bool:
        """Nothing but executable bits changed."""
        return all(file.kind is ChangeKind.MODE for file in self.files)

    @property
    def protected(self) -> tuple[str, ...]:
        """The changed paths that need a second look, in order."""
        return tuple(file.path for file in self.files if is_protected(file.path))
