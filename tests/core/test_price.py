"""Prices: exact to the millionth of a dollar, whatever the model is called."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.price import ALIASES, PRICES, UNKNOWN, Tokens, canonical_model, cost_micros, price_of

counts = st.integers(min_value=0, max_value=3_000_000)
tokens = st.builds(Tokens, input=counts, output=counts, cache_read=counts, cache_write_5m=counts, cache_write_1h=counts)


@pytest.mark.parametrize(
    ("model", "used", "micros"),
    [
        ("claude-opus-5-5", Tokens(input=1_000_000), 4_000_000),
        ("claude-opus-5-5", Tokens(output=1_000_000), 20_000_000),
        ("claude-opus-5-5", Tokens(cache_read=1_000_000), 200_000),
        ("claude-opus-5-5", Tokens(cache_write_5m=1_000_000), 5_000_000),
        ("claude-opus-5-5", Tokens(cache_write_1h=1_000_000), 8_000_000),
        ("claude-sonnet-5-5", Tokens(input=3, output=7, cache_read=11), 78),  # 6 + 70 + 1.1, rounded up
        ("claude-haiku-5-5", Tokens(cache_read=1), 1),  # a hundredth of a millionth still counts
        ("claude-haiku-5-5", Tokens(input=100_000), 10_000),
        ("claude-haiku-5-5", Tokens(input=100_000, cache_read=1, output=2), 50_006),  # the dearer band, all of it
        ("claude-haiku-5-5", Tokens(cache_write_5m=8), 1),
        ("claude-fable-5-2", Tokens(cache_read=1_000_000, cache_write_1h=10), 200_160),
        ("claude-sonnet-4-5-20250929", Tokens(cache_write_5m=1_000_000), 3_750_000),
        ("claude-opus-5-5", Tokens(), 0),
    ],
)
def test_a_request_costs_what_the_list_says(model, used, micros):
    assert cost_micros(model, used) == (micros, "list")


@given(st.sampled_from(sorted(PRICES)), tokens)
def test_cost_is_the_exact_sum_rounded_up_once(model, used):
    rates = PRICES[model].rates_for(used.prompt)
    exact = sum(
        Fraction(getattr(rates, kind) * getattr(used, kind), 1000)
        for kind in ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    )
    micros, _ = cost_micros(model, used)
    assert exact <= micros < exact + 1


def test_an_unlisted_model_is_never_cheap_and_says_so():
    used = Tokens(input=10, output=10)
    micros, basis = cost_micros("claude-next-9", used)
    assert basis == "unknown"
    current = [name for name in PRICES if not name.startswith(("claude-opus-4-0", "claude-opus-4-1"))]
    assert all(cost_micros(name, used)[0] <= micros for name in current)
    assert price_of("claude-next-9")[0] is UNKNOWN


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("anthropic.claude-opus-5-5", "claude-opus-5-5"),
        ("publishers/anthropic/models/claude-opus-5-5@default", "claude-opus-5-5"),
        ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
        ("claude-opus-4@20250514", "claude-opus-4-0"),
        ("Claude-Opus-5-5[1m]", "claude-opus-5-5"),
        (" sonnet ", "claude-sonnet-5-5"),
        ("claude-opus-5", "claude-opus-5"),
        ("claude-fable-5", "claude-fable-5"),
        ("", ""),
    ],
)
def test_one_model_has_one_name(name, canonical):
    assert canonical_model(name) == canonical


@given(st.text(max_size=60))
def test_canonical_names_stay_as_they_are(name):
    once = canonical_model(name)
    assert canonical_model(once) == once


def test_every_alias_leads_to_a_listed_model():
    assert set(ALIASES.values()) <= set(PRICES)
    assert all(canonical_model(name) == name for name in PRICES)
