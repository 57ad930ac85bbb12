"""``${name}`` in texts: name look-up only, in a single pass, so a value that holds ``${`` is never looked at again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names_in(text: str) -> frozenset[str]:
    return frozenset(match[1] for match in _PLACEHOLDER.finditer(text) if match[1])


def fill(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with every text in it filled in; lists and tables keep their form. Raises ``KeyError`` with a missing name."""
    match value:
        case str():
            return _PLACEHOLDER.sub(lambda match: variables[match[1]] if match[1] else "${", value)
        case dict():
            return {fill(key, variables): fill(item, variables) for key, item in value.items()}
        case list() | tuple():
            return [fill(item, variables) for item in value]
        case _:
            return value
