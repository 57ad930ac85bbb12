"""A run's money while it is being spent: reserved before each request, corrected as the answer streams, settled after. Pure.

A budget that is only checked afterwards is no limit: parallel requests would each find it unspent. So a request is let in
only if what was spent, what is reserved and what it will cost at least fit together; and a stream that outgrows the rest is cut.
All amounts are millionths of a US dollar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.core.price import Tokens, price_of

NOTICE_PERCENT = (80, 90, 99)
"""Shares of the budget at which the agent is told."""

_BYTES_PER_TOKEN = 4
_FIRST_WORDS = 1_000
_LARGEST_PROMPT = 1_000_000
_BLOB_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BLOB_LENGTH = 2048
_BLOB = re.compile(rb"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{%d,}+" % _BLOB_LENGTH)
_LONE = bytes(65 if byte in _BLOB_LETTERS else 32 for byte in range(256))
_BLOB_TOKENS = 4_784
"""The most an image counts. https://platform.claude.com/docs/en/build-with-claude/vision"""


def estimate(model: str, body: bytes, *, max_tokens: int, warm_tokens: int) -> int:
    """What a request will cost at least: its prompt and a first thousand tokens of answer.

    ``warm_tokens``: how much of the prompt the model has seen in the request before, and so reads from its cache. The
    estimate is deliberately no worst case (``max_tokens`` is 128,000 by default): the running stream is watched anyway.
    """
    blobs = _blobs(body)
    text_bytes = len(body) - sum(map(len, blobs))
    prompt = min(text_bytes // _BYTES_PER_TOKEN + len(blobs) * _BLOB_TOKENS, _LARGEST_PROMPT)
    cached = min(warm_tokens, prompt)
    price, _ = price_of(model)
    return price.rates_for(prompt).of(
        Tokens(cache_read=cached, cache_write_5m=prompt - cached, output=min(max(max_tokens, 0), _FIRST_WORDS))
    )


def _blobs(body: bytes) -> list[bytes]:
    """Texts in base64 that are too long for words. Looking whether there are any takes a tenth of looking for them."""
    if body.translate(_LONE).find(b"A" * _BLOB_LENGTH) < 0:
        return []
    return _BLOB.findall(body)


@dataclass(slots=True, eq=False)
class Hold:
    """Money set aside for one request; ``live`` is what its answer has cost so far."""

    reserved: int
    live: int = 0


class Allowance:
    """``exhausted`` turns true when a request had to be refused or cut, and stays so."""

    def __init__(self, budget_micros: int) -> None:
        self.budget = budget_micros
        self.spent = 0
        self.exhausted = False
        self._holds: set[Hold] = set()
        self._told = 0

    @property
    def committed(self) -> int:
        """Spent, and surely still to be paid."""
        return self.spent + sum(max(hold.reserved, hold.live) for hold in self._holds)

    def reserve(self, micros: int) -> Hold | None:
        """A hold on ``micros``, None when the budget has no room for it."""
        if self.committed + micros > self.budget:
            self.exhausted = True
            return None
        hold = Hold(micros)
        self._holds.add(hold)
        return hold

    def grow(self, hold: Hold, live: int) -> bool:
        """Notes what the answer has cost so far; False when all answers together are over the budget and it must stop."""
        hold.live = live
        if self.spent + sum(each.live for each in self._holds) > self.budget:
            self.exhausted = True
            return False
        return True

    def settle(self, hold: Hold, micros: int) -> None:
        self._holds.discard(hold)
        self.spent += micros

    def notice(self) -> int | None:
        """The highest share of ``NOTICE_PERCENT`` that was passed since the last call, None when there is none."""
        passed = [percent for percent in NOTICE_PERCENT if self.spent * 100 >= percent * self.budget]
        if not passed or passed[-1] <= self._told:
            return None
        self._told = passed[-1]
        return self._told
