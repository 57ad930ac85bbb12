"""Identifiers: short, URL-safe, sortable by creation time, safe in branch names and document paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NewType

from infra.core.clock import Instant
from infra.core.errors import Invalid

RunId = NewType("RunId", str)
Entropy = Callable[[int], bytes]
"""``entropy(n)`` gives n unpredictable bytes (``os.urandom`` in programs, a seeded source in tests)."""

# Crockford's base 32 in lower case: no i, l, o, u, so ids survive being read aloud.
# https://www.crockford.com/base32.html
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARS = 10  # 50 bits of milliseconds
_RANDOM_BYTES = 10  # 80 bits: ids are not guessable
_RUN_ID = re.compile(r"run-[0-9a-hjkmnp-tv-z]{26}")


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 32)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def new_run_id(now: Instant, entropy: Entropy) -> RunId:
    """A fresh run id. Ids made later sort later (to the millisecond)."""
    random = int.from_bytes(entropy(_RANDOM_BYTES), "big")
    return RunId(f"run-{_base32(now, _TIME_CHARS)}{_base32(random, 16)}")


def parse_run_id(text: str) -> RunId:
    """Raises ``Invalid`` for anything that ``new_run_id`` could not have made."""
    if _RUN_ID.fullmatch(text) is None:
        raise Invalid(
            "That is not a run id.", code="invalid_run_id", hint="A run id looks like run-01k…, 30 characters."
        )
    return RunId(text)


def new_token(entropy: Entropy, characters: int = 32) -> str:
    """An unguessable string of 5 bits a character."""
    return _base32(int.from_bytes(entropy(characters), "big"), characters)
