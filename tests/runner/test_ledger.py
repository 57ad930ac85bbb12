"""The ledger: one line for each request, a sum that is the settlement, and a comparison with the agent's own account."""

import dataclasses
import json
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import Instant
from infra.core.model_access import CREDENTIALS
from infra.core.price import Tokens, cost_micros
from infra.core.run import Usage
from infra.settings import DispatcherSettings, names
from runner.exchange import Entry, with_surcharge
from runner.ledger import discrepancy, lines_of, lost_line, usage_of
from runner.recorder import MOST_BYTES, Ended

MODEL = "claude-sonnet-5-5"

counts = st.integers(0, 10**6)
tokens = st.builds(Tokens, input=counts, output=counts, cache_read=counts, cache_write_5m=counts, cache_write_1h=counts)


A_FEW = Tokens(input=10, output=20)


def entry(number, used=A_FEW, *, counted="full", model=MODEL, surcharge=0, **more):
    micros, basis = cost_micros(model, used)
    return Entry(
        number=number,
        at=Instant(1),
        model=model,
        status=200,
        request_id="req",
        tokens=used,
        micros=with_surcharge(micros, surcharge),
        reserved=5,
        price_basis=basis,
        counted=counted,
        ended=Ended.WHOLE,
        **more,
    )


def as_reported(entries):
    """What the agent's program says: each price exact, added up as fractions, rounded at the end."""
    usage = usage_of(entries)
    exact = sum(cost_micros(each.model, each.tokens)[0] for each in entries)
    return dataclasses.replace(usage, cost_micros=max(exact - len(entries) // 2, 0), cost_basis="reported")


@given(st.lists(tokens, max_size=30))
def test_lines_add_up_to_the_usage_that_is_settled(used):
    entries = [entry(number, each) for number, each in enumerate(used, 1)]
    lines = [json.loads(line) for line in lines_of(entries, run_id="run-1", fence=2).splitlines()]
    usage = usage_of(entries)
    assert sum(line["cost_micros"] for line in lines) == usage.cost_micros
    assert sum(line["input_tokens"] for line in lines) == usage.input_tokens
    assert (
        sum(line["cache_write_5m_tokens"] + line["cache_write_1h_tokens"] for line in lines) == usage.cache_write_tokens
    )
    assert [line["id"] for line in lines] == [f"run-1.2.{number}" for number in range(1, len(used) + 1)]


@given(st.lists(tokens, max_size=30), st.sampled_from([0, 10]))
def test_an_honest_account_agrees(used, surcharge):
    entries = [entry(number, each, surcharge=surcharge) for number, each in enumerate(used, 1)]
    assert discrepancy(entries, as_reported(entries), surcharge_percent=surcharge) is None


def test_what_the_agent_cannot_know_is_no_difference():
    entries = [entry(1), entry(2, counted="partial"), entry(3, counted="none"), entry(4, counted="reserved")]
    assert discrepancy(entries, as_reported(entries[:1])) is None
    unlisted = [entry(1, model="next-9")]
    reported = dataclasses.replace(as_reported(unlisted), cost_micros=1)
    assert discrepancy(unlisted, reported) is None


def test_requests_that_the_agent_does_not_know_of_are_found():
    entries = [entry(1), entry(2, Tokens(input=100, output=1_000, cache_read=7))]
    found = discrepancy(entries, as_reported(entries[:1]))
    assert (found.input_tokens, found.output_tokens, found.cache_tokens) == (100, 1_000, 7)
    assert abs(found.cost_micros - entries[1].micros) <= 1


def test_money_that_the_agent_only_believes_to_have_spent_is_found_too():
    reported = dataclasses.replace(as_reported([entry(1)]), output_tokens=5_000, cost_micros=50_000)
    found = discrepancy([entry(1)], reported)
    assert found.output_tokens < 0
    assert found.cost_micros < 0
    assert discrepancy([], Usage(cost_micros=2)) is not None


@given(st.lists(tokens, max_size=5), st.lists(tokens, max_size=5))
def test_what_a_lost_runner_spent_is_one_line_and_the_sum_is_whole(kept, lost):
    there = [entry(number, each) for number, each in enumerate(kept, 1)]
    before = lines_of(there, run_id="run-1", fence=1)
    used = usage_of(there).plus(usage_of([entry(number, each) for number, each in enumerate(lost, 1)]))
    line = lost_line(before, used, run_id="run-1", fence=2, at=Instant(5))
    told = [json.loads(each) for each in (before + line).splitlines()]
    assert sum(each["cost_micros"] for each in told) == used.cost_micros
    assert sum(each["output_tokens"] for each in told) == (used if line else usage_of(there)).output_tokens
    assert [each["counted"] for each in told[len(there) :]] in ([], ["lost"])
    assert lost_line(before + line, used, run_id="run-1", fence=3, at=Instant(6)) == b""


def test_the_page_about_the_model_names_every_field_and_every_mode():
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text()
    (line,) = lines_of([entry(1)], run_id="run-1", fence=1).splitlines()
    assert [name for name in json.loads(line) if f"`{name}`" not in page] == []
    assert [variable for variable in CREDENTIALS.values() if f"`{variable}`" not in page] == []
    assert [how for how in Ended if f"`{how}`" not in page] == []
    assert f"{MOST_BYTES // 2**20} MiB" in page
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`", page))
    assert named - set(names(DispatcherSettings)) == set()
