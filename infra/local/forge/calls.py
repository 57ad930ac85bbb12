"""A log of the requests the forge has served; what a test asserts on. Credentials are never in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """``status`` 0: the connection was broken. ``actor``: login, empty for anonymous. ``body``: the JSON that was sent, if any."""

    method: str
    path: str
    query: str
    status: int
    actor: str
    body: Any
    milliseconds: float


class Calls:
    """The newest ten thousand, oldest first."""

    def __init__(self) -> None:
        self._served: deque[Served] = deque(maxlen=_KEPT)

    def add(self, served: Served) -> None:
        self._served.append(served)

    def clear(self) -> None:
        self._served.clear()

    def matching(self, method: str, path: str) -> list[Served]:
        """``path`` exactly, without ``/api/v3``."""
        return [row for row in self._served if row.method == method and row.path.removeprefix("/api/v3") == path]

    def __iter__(self) -> Iterator[Served]:
        return iter(tuple(self._served))

    def __len__(self) -> int:
        return len(self._served)
