"""Removing what a stranger filled: read-only folders, a million files, nesting deeper than any path may be long."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

PARKING_PREFIX = ".removing-"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that could not be removed, and the system's reason."""

    path: str
    reason: str


def remove(path: Path, *, parking: Path) -> tuple[Leftover, ...]:
    """Removes a file, a link (never what it points to) or a whole tree; absent is fine. Nothing is raised.

    Folders are moved to ``parking`` (a folder of ours on the same file system, outside ``path``) before they are emptied,
    so depth costs neither recursion nor long paths. What resists stays there and is named in the result.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return ()
        site = Path(tempfile.mkdtemp(prefix=PARKING_PREFIX, dir=parking))
        _park(path, site / "0")
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (Leftover(str(path), str(error)),)
    return _demolish(site)


def _demolish(site: Path) -> tuple[Leftover, ...]:
    leftovers: list[Leftover] = []
    waiting = [site / "0"]
    parked = 1
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            leftovers.append(Leftover(str(folder), str(error)))
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(_park(Path(entry.path), site / str(parked)))
                    parked += 1
                else:
                    Path(entry.path).unlink()
            except OSError as error:
                leftovers.append(Leftover(entry.path, str(error)))
        with contextlib.suppress(OSError):  # not empty: its content was named above
            folder.rmdir()
    with contextlib.suppress(OSError):
        site.rmdir()
    return tuple(leftovers)


def _park(folder: Path, place: Path) -> Path:
    # moving a folder needs write permission on it, emptying it too
    folder.chmod(stat.S_IRWXU)
    return folder.rename(place)
