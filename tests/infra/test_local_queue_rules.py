"""The pure half of the local queue: what an answer means, and how fast the queue may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import Instant
from infra.core.queue import RetryPolicy
from infra.local.queue_pace import Pace
from infra.local.queue_rules import (
    MAX_RETRY_AFTER_SECONDS,
    Again,
    Answer,
    Buried,
    Finished,
    backoff_seconds,
    judge,
    retry_after_seconds,
)

POLICY = RetryPolicy(max_attempts=5, min_backoff_seconds=1, max_backoff_seconds=10, max_per_second=50)
NOW = Instant(1_000_000)


@given(st.integers(200, 299), st.integers(1, 1000))
def test_every_2xx_ends_a_task_at_any_attempt(status, attempt):
    assert judge(Answer(status), attempt, POLICY, NOW) == Finished()


@given(st.one_of(st.none(), st.integers(100, 199), st.integers(300, 999)), st.integers(1, 4))
def test_everything_else_is_tried_again_after_doubling_pauses(status, attempt):
    pause = {1: 1, 2: 2, 3: 4, 4: 8}[attempt]
    assert judge(Answer(status, problem="x"), attempt, POLICY, NOW) == Again(Instant(NOW + pause * 1000))


def test_the_last_attempt_buries_with_what_happened():
    assert judge(Answer(500), 5, POLICY, NOW) == Buried("All 5 attempts failed; the last one with: status 500")
    assert "no route" in judge(Answer(None, problem="no route"), 5, POLICY, NOW).reason


def test_retry_after_lengthens_a_pause_and_never_shortens_it():
    assert judge(Answer(429, retry_after=30), 1, POLICY, NOW) == Again(Instant(NOW + 30_000))
    assert judge(Answer(503, retry_after=1), 4, POLICY, NOW) == Again(Instant(NOW + 8_000))
    assert judge(Answer(500, retry_after=30), 1, POLICY, NOW) == Again(Instant(NOW + 1_000))


@given(st.integers(1, 10**6))
def test_pauses_stay_within_the_policy(attempt):
    assert POLICY.min_backoff_seconds <= backoff_seconds(POLICY, attempt) <= POLICY.max_backoff_seconds
    assert backoff_seconds(POLICY, attempt) <= backoff_seconds(POLICY, attempt + 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        (" 7 ", 7),
        ("0", 0),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("٣", 0),
        ("1_0", 0),
        ("Fri, 20 Nov 2026 10:00:00 GMT", 0),
        ("99999999", MAX_RETRY_AFTER_SECONDS),
        ("9" * 5000, 0),
    ],
)
def test_retry_after_is_whole_seconds_or_nothing(header, seconds):
    assert retry_after_seconds(header) == seconds


@given(st.text(max_size=20))
def test_no_retry_after_raises_or_stops_the_queue_for_long(header):
    assert 0 <= retry_after_seconds(header) <= MAX_RETRY_AFTER_SECONDS


STEPS = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from(["go", "ok", "pushed"]), st.floats(0, 5)), min_size=1, max_size=60
)


@given(st.floats(0.5, 500), STEPS)
def test_a_pace_never_exceeds_its_rate_keeps_pauses_and_always_has_an_end_to_waiting(rate, steps):
    policy = RetryPolicy(max_per_second=rate, max_backoff_seconds=10)
    pace, now, sent, closed_until = Pace(policy, 0.0), 0.0, 0, 0.0
    burst = max(1.0, rate / 5)
    for pause, event, retry_after in steps:
        now += pause
        allowed = pace.allowance(now)
        assert allowed == 0 or now >= closed_until
        if event == "go":
            pace.spend(allowed)
            sent += allowed
        elif event == "ok":
            pace.accepted(now)
        else:
            pace.pushed_back(now, now, retry_after)
            closed_until = max(closed_until, now + retry_after)
        assert sent <= burst + rate * now + 1e-6
        assert min(rate, 1 / 10) - 1e-9 <= pace.rate <= rate
        wait = pace.wait(now)
        assert 0 <= wait <= max(closed_until - now, 0) + 10 + 1e-6
        now += wait + 1e-6
        assert pace.allowance(now) >= 1


def test_one_wave_of_pushback_halves_once_and_success_recovers():
    pace = Pace(POLICY, 0.0)
    for _ in range(10):
        pace.pushed_back(sent_at=0.0 if pace.rate == 50 else -1.0, now=1.0, retry_after=0)
    assert pace.rate == 25
    pace.pushed_back(sent_at=2.0, now=3.0, retry_after=0)
    assert pace.rate == 12.5
    assert pace.allowance(3.0) == 0
    for _ in range(5):
        pace.accepted(4.0)
    assert pace.rate == 50


def test_an_unbroken_row_of_pushback_still_lets_one_through_now_and_then():
    pace, now = Pace(POLICY, 0.0), 0.0
    for _ in range(100):
        now += pace.wait(now) + 1e-6
        pace.spend(1)
        pace.pushed_back(now, now, 0)
    assert pace.rate == pytest.approx(1 / POLICY.max_backoff_seconds)
    assert pace.wait(now) <= POLICY.max_backoff_seconds


def test_a_clock_that_stands_still_or_steps_back_gives_nothing_away():
    pace = Pace(POLICY, 100.0)
    pace.spend(pace.allowance(100.0))
    assert pace.allowance(50.0) == 0
    assert pace.allowance(100.0) == 0
