"""Masking JSON-like data: the structure stays, every text in it passes the redactor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.core.redaction_rules import is_secret_name
from infra.core.redaction_values import MARK

DEEPEST = 64
MOST_ITEMS = 100_000


@dataclass(slots=True)
class Walk:
    """One walk over one value. ``names``: whether a key that announces a secret is enough to mask the text under it."""

    text: Callable[[str], str]
    names: bool
    left: int = MOST_ITEMS

    def masked(self, value: Any, depth: int = 0) -> Any:
        """A masked copy; a mark for what lies deeper than ``DEEPEST`` or beyond ``MOST_ITEMS``."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            return MARK
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return value if self.text(spelt := repr(value)) == spelt else MARK
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple)):
            return [self.masked(item, depth + 1) for item in value]
        return self.text(str(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for name, item in value.items():
            key = self.text(str(name))
            while key in copy:  # two masked keys must not swallow each other
                key += "'"
            named = self.names and isinstance(item, str) and item and is_secret_name(str(name))
            copy[key] = MARK if named else self.masked(item, depth + 1)
        return copy
