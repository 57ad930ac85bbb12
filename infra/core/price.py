"""What model tokens cost: a dated price list and exact integer arithmetic.

Money is whole millionths of a US dollar. A price of 0.2 dollars per million tokens is 0.2 millionths for one token, so prices
are kept in thousandths of that and a request is rounded up once, after everything in it was added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PRICES_AS_OF = "2026-10-24"
"""When the list was last compared with https://platform.claude.com/docs/en/about-claude/pricing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What one answer used, in the API's own words. ``cache_write_5m``/``_1h``: written to the five-minute/one-hour cache;
    ``web_searches``: made by the model's servers, billed for each."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


@dataclass(frozen=True, slots=True)
class Rates:
    """Thousandths of a millionth of a dollar for one token (0.125 dollars per million are 125)."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int

    def of(self, tokens: Tokens) -> int:
        """The cost of ``tokens`` in millionths of a dollar, rounded up."""
        thousandths = (
            tokens.input * self.input
            + tokens.output * self.output
            + tokens.cache_read * self.cache_read
            + tokens.cache_write_5m * self.cache_write_5m
            + tokens.cache_write_1h * self.cache_write_1h
        )
        return -(-thousandths // 1000)


@dataclass(frozen=True, slots=True)
class Price:
    """``long_rates`` apply to the whole request once its prompt is over ``long_above`` tokens."""

    rates: Rates
    long_above: int = 0
    long_rates: Rates | None = None

    def rates_for(self, prompt_tokens: int) -> Rates:
        if self.long_rates is not None and prompt_tokens > self.long_above:
            return self.long_rates
        return self.rates


def _rates(input_: int, output: int, cache_read: int) -> Rates:
    """Writing to the cache costs 1.25 (five minutes) or 2 (one hour) times the input price for every model listed."""
    return Rates(input_, output, cache_read, input_ * 5 // 4, input_ * 2)


_OPUS_4 = Price(_rates(15_000, 75_000, 1_500))
_OPUS_4_5 = Price(_rates(5_000, 25_000, 500))
_SONNET_3_TO_4 = Price(_rates(3_000, 15_000, 300))
_FABLE_5 = Price(_rates(10_000, 50_000, 1_000))
_FABLE_5_1 = Price(_rates(10_000, 50_000, 250))
_FABLE_5_2 = Price(_rates(8_000, 40_000, 200))

PRICES: Mapping[str, Price] = {
    "claude-opus-5-5": Price(_rates(4_000, 20_000, 200)),
    "claude-opus-5": _OPUS_4_5,
    "claude-opus-4-8": _OPUS_4_5,
    "claude-opus-4-7": _OPUS_4_5,
    "claude-opus-4-6": _OPUS_4_5,
    "claude-opus-4-5": _OPUS_4_5,
    "claude-opus-4-1": _OPUS_4,
    "claude-opus-4-0": _OPUS_4,
    "claude-sonnet-5-5": Price(_rates(2_000, 10_000, 100)),
    "claude-sonnet-5": Price(_rates(2_000, 10_000, 200)),
    "claude-sonnet-4-6": _SONNET_3_TO_4,
    "claude-sonnet-4-5": _SONNET_3_TO_4,
    "claude-sonnet-4-0": _SONNET_3_TO_4,
    "claude-3-7-sonnet": _SONNET_3_TO_4,
    "claude-3-5-sonnet": _SONNET_3_TO_4,
    "claude-haiku-5-5": Price(_rates(100, 500, 10), 100_000, _rates(500, 2_500, 50)),
    "claude-haiku-4-5": Price(_rates(1_000, 5_000, 100)),
    "claude-3-5-haiku": Price(_rates(800, 4_000, 80)),
    "claude-fable-5-2": _FABLE_5_2,
    "claude-fable-5-1": _FABLE_5_1,
    "claude-fable-5": _FABLE_5,
    "claude-mythos-5-2": _FABLE_5_2,
    "claude-mythos-5-1": _FABLE_5_1,
    "claude-mythos-5": _FABLE_5,
}
"""By canonical name; the same figures as in Claude Code 2.1.329's own model list."""

ALIASES: Mapping[str, str] = {
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
    "claude-opus-4": "claude-opus-4-0",
    "claude-sonnet-4": "claude-sonnet-4-0",
}
"""What Claude Code 2.1.329 understands by its short names, and the undated forms of the first models of a generation."""

WEB_SEARCH_MICROS = 10_000
"""Ten dollars for a thousand searches, whatever the model."""

UNKNOWN = _FABLE_5
"""A model that is not listed counts as the dearest one still sold, so that a budget errs on the safe side."""

# Vertex: name@20250929; Bedrock: us.anthropic.name-20250929-v1:0; Claude Code marks a million-token window by [1m].
_PREFIX = re.compile(r"^(?:[a-z-]+\.)?anthropic\.")
_SUFFIX = re.compile(r"(?:\[1m\]|-latest|-v[0-9]+(?::[0-9]+)?|[@-](?:default|[0-9]{8}))$", re.ASCII)


def canonical_model(name: str) -> str:
    """One spelling for a model: lower case, without cloud prefix, date, version and window marks, aliases resolved."""
    text, shorter = "", name.lower()
    while text != shorter:
        text = shorter
        shorter = _SUFFIX.sub("", _PREFIX.sub("", text.strip().rpartition("/")[2], count=1))
    return ALIASES.get(text, text)


def price_of(model: str) -> tuple[Price, str]:
    """The price and its basis: ``list``, or ``unknown`` when the model is not in the list."""
    known = PRICES.get(canonical_model(model))
    return (known, "list") if known is not None else (UNKNOWN, "unknown")


def cost_micros(model: str, tokens: Tokens) -> tuple[int, str]:
    """What one request costs, in millionths of a dollar, rounded up once; and the basis of the price."""
    price, basis = price_of(model)
    return price.rates_for(tokens.prompt).of(tokens) + tokens.web_searches * WEB_SEARCH_MICROS, basis
