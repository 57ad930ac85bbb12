"""What was hidden in a text that strangers wrote, and the words about it. ``infra.core.hygiene`` finds it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MOST_REMOVALS = 20
"""Kept with a run; what is beyond them is counted in the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """``kind`` in words for people; ``characters``: how much was taken out; ``excerpt``: its beginning, in visible ASCII."""

    kind: str
    characters: int
    excerpt: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    text: str
    removed: tuple[Removal, ...]


def notice(removed: Sequence[Removal], source: str = "task text") -> str:
    """One line for people; empty when nothing was removed. Holds nothing of what was written by strangers."""
    if not removed:
        return ""
    counts = Counter(removal.kind for removal in removed)
    sizes = Counter[str]()
    for removal in removed:
        sizes[removal.kind] += removal.characters
    parts = [f"{_counted(count, kind)} ({_plural(sizes[kind], 'character')})" for kind, count in counts.items()]
    total = len(removed)
    were = "hidden passage was" if total == 1 else "hidden passages were"
    return f"{total} {were} removed from the {source}: {', '.join(parts)}."


def bounded(removed: Sequence[Removal]) -> tuple[Removal, ...]:
    """At most ``MOST_REMOVALS``: what a run keeps."""
    if len(removed) <= MOST_REMOVALS:
        return tuple(removed)
    rest = removed[MOST_REMOVALS - 1 :]
    last = Removal(
        kind="further passage", characters=sum(removal.characters for removal in rest), excerpt=f"{len(rest)} more"
    )
    return (*removed[: MOST_REMOVALS - 1], last)


def _counted(count: int, kind: str) -> str:
    if count > 1:
        head, _, rest = kind.partition(" that ")
        first, _, tail = head.partition(" of ")
        plural = f"{first}s of {tail}" if tail else f"{head}s"
        return f"{count} {plural}" + (f" that are{rest.removeprefix('is')}" if rest else "")
    return f"an {kind}" if kind[0] in "aeioAEIO" or kind.startswith("HTML") else f"a {kind}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
