"""Faults on order: the next requests that match answer as a test wants, late, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True, kw_only=True)
class Fault:
    """``path`` is a regular expression searched in the path (without query); ``times``: how many requests it hits.

    ``status``: answer this instead of doing anything. ``drop``: break the connection ``before`` the request takes effect or
    ``after`` it has. ``delay``: seconds to wait first. With none of the first two the request is served, only later.
    """

    method: str = ".*"
    path: str = ".*"
    times: int = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and bool(re.fullmatch(self.method, method)) and bool(re.search(self.path, path))


class Faults:
    def __init__(self) -> None:
        self._planned: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Raises ``re.error`` for a bad expression now, not at the request."""
        re.compile(fault.method)
        re.compile(fault.path)
        self._planned.append(fault)
        return fault

    def clear(self) -> None:
        self._planned.clear()

    @property
    def waiting(self) -> int:
        """How many requests are still to be hit; a test that ends with some has not tested them."""
        return sum(fault.times for fault in self._planned)

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault that matches, used up by one."""
        for fault in self._planned:
            if fault.matches(method, path):
                fault.times -= 1
                return fault
        return None
