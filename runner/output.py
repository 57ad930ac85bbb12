"""The output of a program on its way to people: decoded, made harmless, redacted, told as it comes, and bounded."""

from __future__ import annotations

import codecs
from collections.abc import Awaitable, Callable

from infra.core.redaction import Redactor
from infra.core.terminal import CleanStream

Tell = Callable[[str], Awaitable[None]]

LONGEST_TOLD = 16_000
"""Characters of one event."""


class Output:
    """One stream. ``kept`` is what was told, up to ``limit`` characters; what comes after is counted, not told."""

    def __init__(self, redactor: Redactor, tell: Tell, *, limit: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._clean = CleanStream()
        self._redacted = redactor.stream()
        self._tell = tell
        self._limit = limit
        self._parts: list[str] = []
        self._size = 0
        self.left_out = 0

    @property
    def kept(self) -> str:
        return "".join(self._parts)

    async def feed(self, piece: bytes) -> None:
        await self._take(self._redacted.feed(self._clean.feed(self._decoder.decode(piece))))

    async def end(self) -> None:
        """The last of it, and how much was left out."""
        rest = self._clean.feed(self._decoder.decode(b"", final=True)) + self._clean.flush()
        await self._take(self._redacted.feed(rest) + self._redacted.flush())
        if self.left_out:
            await self._tell(f"\n[… {self.left_out:,} more characters]\n")

    async def _take(self, text: str) -> None:
        fits = text[: self._limit - self._size]
        self.left_out += len(text) - len(fits)
        self._size += len(fits)
        if fits:
            self._parts.append(fits)
        for start in range(0, len(fits), LONGEST_TOLD):
            await self._tell(fits[start : start + LONGEST_TOLD])
