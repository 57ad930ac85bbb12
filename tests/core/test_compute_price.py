"""What a runner's time costs: by hand for known cases, by rule for all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import MINUTE, SECOND, Instant
from infra.core.compute_price import COMPUTE_RATES, Compute, compute_micros
from infra.core.execution import Host, ResourceClass
from infra.core.ids import RunId
from infra.core.run import Limits, Origin, Run, State, claim, renew, settle, swept

SIZES = st.builds(ResourceClass, st.sampled_from([1, 2, 4, 8]), st.integers(1, 32))
TIMES = st.integers(0, 24 * 60 * MINUTE)


@pytest.mark.parametrize(
    ("host", "size", "milliseconds", "micros"),
    [
        # 600 s x (2 x 0.000018 + 4 x 0.000002) = 0.0264 dollars
        (Host.JOB, ResourceClass(2, 4), 10 * MINUTE, 26_400),
        # 600 s x (2 x 0.000024 + 4 x 0.0000025) = 0.0348 dollars
        (Host.SERVICE, ResourceClass(2, 4), 10 * MINUTE, 34_800),
        (Host.JOB, ResourceClass(1, 2), 120 * MINUTE, 158_400),
        (Host.SERVICE, ResourceClass(8, 16), 25 * MINUTE, 348_000),
        (Host.JOB, ResourceClass(1, 2), 0, 0),
        # a begun step is a whole one: 100 ms of 22 millionths a second, rounded up
        (Host.JOB, ResourceClass(1, 2), 1, 3),
        (Host.JOB, ResourceClass(1, 2), 101, 5),
    ],
)
def test_known_cases(host, size, milliseconds, micros):
    assert compute_micros(host, size, milliseconds) == micros


def test_every_host_has_a_rate_and_a_job_is_cheaper():
    assert set(COMPUTE_RATES) == set(Host)
    assert COMPUTE_RATES[Host.JOB].cpu < COMPUTE_RATES[Host.SERVICE].cpu


@given(st.sampled_from(Host), SIZES, TIMES, TIMES)
def test_more_time_never_costs_less_and_parts_never_cost_less_than_the_whole(host, size, first, second):
    whole = compute_micros(host, size, first + second)
    parts = compute_micros(host, size, first) + compute_micros(host, size, second)
    assert compute_micros(host, size, first) <= whole <= parts


def at(seconds):
    return Instant(1_000_000 + seconds * SECOND)


def test_attempts_add_up_and_the_gap_between_them_is_free():
    compute = Compute().begun("job", "2x4", at(0)).until(at(60))
    assert (compute.milliseconds, compute.since) == (60_000, None)
    compute = compute.begun("service", "2x4", at(600)).until(at(660))
    assert compute.milliseconds == 120_000
    assert compute.micros == 2_640 + 3_480
    assert compute.host == "service"


def test_counting_twice_counts_once():
    compute = Compute().begun("job", "2x4", at(0)).until(at(60))
    assert compute.until(at(90)) == compute


def test_an_attempt_that_was_lost_ends_when_the_next_begins():
    compute = Compute().begun("job", "2x4", at(0)).begun("job", "2x4", at(30)).until(at(60))
    assert compute.milliseconds == 60_000


def test_a_clock_that_goes_back_costs_nothing():
    assert Compute().begun("job", "2x4", at(60)).until(at(0)).micros == 0


@pytest.mark.parametrize(("host", "size"), [("", ""), ("laptop", ""), ("laptop", "2x4"), ("service", "")])
def test_nobody_pays_for_a_laptop(host, size):
    compute = Compute().begun(host, size, at(0)).until(at(60))
    assert (compute.milliseconds, compute.micros) == (60_000, 0)


def a_run():
    limits = Limits(budget_micros=1, wall_seconds=1500, idle_seconds=600, max_turns=1)
    return Run(
        id=RunId("run-01kahra6004ykkmsv7kvb3xqyd"),
        owner="octo",
        repo="shop",
        installation_id=1,
        ref="main",
        base_sha="",
        title="t",
        task="t",
        action="create-pr",
        origin=Origin(kind="workflow_dispatch", actor="key demo"),
        limits=limits,
        model="m",
        state=State.QUEUED,
        created_at=at(0),
        updated_at=at(0),
        launched_at=at(0),
        wake_at=at(60),
    )


def test_a_run_counts_from_its_claim_to_its_end_through_a_lost_holder():
    held = claim(a_run(), holder="a", now=at(100), lease_ms=60 * SECOND, host="job", size="2x4")
    held = renew(held, fence=held.fence, now=at(130), lease_ms=60 * SECOND)
    # said again because the answer was lost: the same attempt goes on
    again = claim(held, holder="a", now=at(140), lease_ms=60 * SECOND, host="job", size="2x4")
    assert again.compute == held.compute
    lost = swept(again, at(220))
    assert lost.state is State.QUEUED
    assert (lost.compute.milliseconds, lost.compute.since) == (120_000, None)
    second = claim(lost, holder="b", now=at(300), lease_ms=60 * SECOND, host="job", size="2x4")
    ended = settle(second, State.NO_CHANGES, now=at(360))
    assert ended.compute.milliseconds == 180_000
    assert ended.compute.micros == compute_micros(Host.JOB, ResourceClass(2, 4), 180_000)


def test_a_run_that_nobody_is_billed_for_counts_its_time_only():
    ended = settle(claim(a_run(), holder="a", now=at(0), lease_ms=SECOND), State.NO_CHANGES, now=at(60))
    assert (ended.compute.milliseconds, ended.compute.micros) == (60_000, 0)
