"""The rules of a run: one table of moves, one winner per claim, one end."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import HOUR, SECOND, Instant, later
from infra.core.errors import Conflict
from infra.core.ids import RunId
from infra.core.run import (
    MAX_ATTEMPTS,
    MAX_LAUNCHES,
    TERMINAL,
    TRANSITIONS,
    Checkpoint,
    Ended,
    Fenced,
    Held,
    Limits,
    Origin,
    Phase,
    Run,
    State,
    Usage,
    claim,
    move,
    release,
    renew,
    request_cancel,
    settle,
    swept,
)

NOW = Instant(1_763_680_000_000)
LEASE = 60 * SECOND


def a_run(**changes) -> Run:
    run = Run(
        id=RunId("run-01kahra6004ykkmsv7kvb3xqyd"),
        owner="octo",
        repo="shop",
        installation_id=1,
        ref="main",
        base_sha="a" * 40,
        title="Fix it",
        task="Fix it",
        action="create-pr",
        origin=Origin(kind="workflow_dispatch", actor="key demo"),
        limits=Limits(budget_micros=5_000_000, wall_seconds=1500, idle_seconds=600, max_turns=100),
        model="claude-opus-5-5",
        state=State.QUEUED,
        created_at=NOW,
        updated_at=NOW,
        launched_at=NOW,
        wake_at=later(NOW, 60_000),
    )
    return replace(run, **changes)


def test_every_state_has_a_row_and_terminal_states_lead_nowhere():
    assert set(TRANSITIONS) == set(State)
    assert all(not TRANSITIONS[state] for state in TERMINAL)
    assert all(TRANSITIONS[state] for state in set(State) - TERMINAL)


def test_every_state_can_be_reached_and_every_live_state_can_end():
    reached, frontier = {State.QUEUED}, {State.QUEUED}
    while frontier:
        frontier = {after for state in frontier for after in TRANSITIONS[state]} - reached
        reached |= frontier
    assert reached == set(State)
    assert all(State.CANCELLED in TRANSITIONS[state] for state in set(State) - TERMINAL)


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_only_moves_of_the_table_are_made(before, after):
    run = a_run(state=before)
    if after in TRANSITIONS[before]:
        moved = move(run, after, NOW)
        assert moved.state is after
        assert (moved.wake_at is None) == (after in TERMINAL)
        assert (moved.finished_at is not None) == (after in TERMINAL)
    else:
        with pytest.raises(Ended if before in TERMINAL else Conflict):
            move(run, after, NOW)


def test_a_claim_takes_the_lease_and_a_second_runner_is_told_so():
    claimed = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    assert (claimed.state, claimed.phase, claimed.fence, claimed.attempt) == (State.RUNNING, Phase.CLONING, 1, 1)
    assert claimed.wake_at == later(NOW, LEASE)
    with pytest.raises(Held):
        claim(claimed, holder="two", now=NOW, lease_ms=LEASE)


def test_claiming_again_after_a_lost_answer_renews_instead_of_starting_a_second_attempt():
    claimed = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    again = claim(claimed, holder="one", now=later(NOW, 5_000), lease_ms=LEASE)
    assert (again.attempt, again.fence) == (1, 1)
    assert again.lease.expires_at == later(NOW, 5_000 + LEASE)


def test_an_expired_lease_is_taken_over_under_a_higher_fence_and_the_old_holder_is_refused():
    first = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    second = claim(first, holder="two", now=later(NOW, LEASE), lease_ms=LEASE)
    assert (second.fence, second.attempt) == (2, 2)
    with pytest.raises(Fenced):
        renew(second, fence=1, now=later(NOW, LEASE + 1), lease_ms=LEASE)


def test_the_next_attempt_resumes_at_the_checkpoint():
    saved = Checkpoint(phase=Phase.PUBLISHING, base_sha="a" * 40, head_sha="b" * 40, result="result.bundle")
    first = renew(
        claim(a_run(), holder="one", now=NOW, lease_ms=LEASE), fence=1, now=NOW, lease_ms=LEASE, checkpoint=saved
    )
    second = claim(first, holder="two", now=later(NOW, LEASE), lease_ms=LEASE)
    assert second.phase is Phase.PUBLISHING
    assert second.checkpoint == saved


def test_the_cost_of_a_lost_attempt_is_kept_once():
    spent = Usage(turns=2, cost_micros=300)
    first = renew(claim(a_run(), holder="one", now=NOW, lease_ms=LEASE), fence=1, now=NOW, lease_ms=LEASE, spent=spent)
    second = claim(first, holder="two", now=later(NOW, LEASE), lease_ms=LEASE)
    assert (second.usage.cost_micros, second.spent.cost_micros) == (300, 0)
    ended = settle(second, State.SUCCEEDED, now=later(NOW, LEASE), usage=Usage(turns=1, cost_micros=50))
    assert ended.usage.cost_micros == 350


def test_a_run_that_ends_without_a_report_keeps_what_its_last_heartbeat_said():
    running = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    running = renew(running, fence=1, now=NOW, lease_ms=LEASE, spent=Usage(cost_micros=70))
    assert settle(running, State.CANCELLED, now=NOW).usage.cost_micros == 70


def test_settling_twice_is_refused():
    ended = settle(claim(a_run(), holder="one", now=NOW, lease_ms=LEASE), State.SUCCEEDED, now=NOW)
    with pytest.raises(Ended):
        settle(ended, State.FAILED, now=NOW)


def test_cancelling_a_queued_run_ends_it_and_a_running_one_asks_its_holder():
    assert request_cancel(a_run(), NOW).state is State.CANCELLED
    asked = request_cancel(claim(a_run(), holder="one", now=NOW, lease_ms=LEASE), later(NOW, 10))
    assert (asked.state, asked.cancel_requested_at) == (State.RUNNING, later(NOW, 10))
    assert request_cancel(asked, later(NOW, 99)).cancel_requested_at == later(NOW, 10)


def test_the_sweeper_leaves_what_is_not_due():
    assert swept(a_run(), NOW) is None
    assert swept(settle(a_run(), State.CANCELLED, now=NOW), later(NOW, HOUR)) is None


def test_the_sweeper_launches_a_queued_run_again_and_gives_up_in_the_end():
    run, now = a_run(), NOW
    for launch in range(2, MAX_LAUNCHES + 1):
        now = run.wake_at
        run = swept(run, now)
        assert (run.state, run.launch) == (State.QUEUED, launch)
        assert run.wake_at > now
    run = swept(run, run.wake_at)
    assert (run.state, run.reason.code) == (State.FAILED, "runner_unreachable")


def test_a_lost_runner_is_replaced_until_the_attempts_are_used_up():
    run, now = a_run(), NOW
    for attempt in range(1, MAX_ATTEMPTS + 1):
        run = claim(run, holder=f"runner {attempt}", now=now, lease_ms=LEASE)
        now = run.wake_at
        run = swept(run, now)
    assert (run.state, run.reason.code) == (State.FAILED, "runner_lost")


def test_a_run_that_is_handed_back_is_launched_at_once_and_goes_on_from_its_checkpoint():
    run = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    checkpoint = Checkpoint(phase=Phase.WORKING, session_id="s")
    back = release(run, fence=1, now=later(NOW, 10), checkpoint=checkpoint, spent=Usage(cost_micros=7))
    assert (back.state, back.lease, back.launch) == (State.QUEUED, None, run.launch + 1)
    again = claim(back, holder="two", now=later(NOW, 20), lease_ms=LEASE)
    assert (again.fence, again.attempt, again.checkpoint, again.usage.cost_micros) == (2, 2, checkpoint, 7)
    with pytest.raises(Fenced):
        release(again, fence=1, now=later(NOW, 30))


def test_a_run_that_is_handed_back_too_often_or_was_to_stop_ends():
    run = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    assert release(request_cancel(run, NOW), fence=1, now=NOW).state is State.CANCELLED
    assert release(replace(run, attempt=MAX_ATTEMPTS), fence=1, now=NOW).state is State.FAILED


def test_a_lost_runner_that_was_to_stop_ends_as_cancelled():
    run = request_cancel(claim(a_run(), holder="one", now=NOW, lease_ms=LEASE), NOW)
    assert swept(run, run.wake_at).state is State.CANCELLED


@given(st.lists(st.sampled_from(["claim", "beat", "sweep", "cancel", "settle", "wait"]), max_size=40), st.data())
def test_whatever_happens_the_history_is_a_path_of_the_table_and_fences_only_grow(steps, data):
    run, now = a_run(), NOW
    for step in steps:
        before = run
        try:
            match step:
                case "wait":
                    now = later(now, data.draw(st.integers(0, 2 * LEASE)))
                case "claim":
                    run = claim(run, holder=data.draw(st.sampled_from("ab")), now=now, lease_ms=LEASE)
                case "beat":
                    run = renew(run, fence=data.draw(st.integers(0, run.fence)), now=now, lease_ms=LEASE)
                case "sweep":
                    run = swept(run, now) or run
                case "cancel":
                    run = request_cancel(run, now)
                case "settle":
                    run = settle(run, data.draw(st.sampled_from(sorted(TERMINAL))), now=now)
        except Conflict:
            assert run is before
        assert run.state is before.state or run.state in TRANSITIONS[before.state]
        assert run.fence >= before.fence
        assert run.ended == (run.wake_at is None)
        assert run.lease is None or (run.state is State.RUNNING and run.lease.fence == run.fence)
        assert not before.ended or run == before


def test_an_overtaken_heartbeat_changes_nothing():
    run = claim(a_run(), holder="one", now=NOW, lease_ms=LEASE)
    newer = renew(run, fence=1, now=later(NOW, 2), lease_ms=LEASE, beat=2, phase=Phase.PUBLISHING)
    assert renew(newer, fence=1, now=later(NOW, 3), lease_ms=LEASE, beat=1, phase=Phase.WORKING) == newer
    assert renew(newer, fence=1, now=later(NOW, 3), lease_ms=LEASE, beat=3, phase=Phase.WORKING).phase is Phase.WORKING


PUBLISHING = Checkpoint(phase=Phase.PUBLISHING, result="work.bundle")


def test_a_run_that_may_have_its_pull_request_is_not_cancelled_unseen():
    run = renew(
        claim(a_run(), holder="one", now=NOW, lease_ms=LEASE),
        fence=1,
        now=NOW,
        lease_ms=LEASE,
        phase=Phase.PUBLISHING,
        checkpoint=PUBLISHING,
    )
    asked = request_cancel(run, NOW)
    lost = swept(asked, later(NOW, LEASE))
    assert (lost.state, lost.launch) == (State.QUEUED, 2)
    again = swept(lost, lost.wake_at)
    assert (again.state, again.launch) == (State.QUEUED, 3)


def test_a_queued_run_that_may_have_its_pull_request_is_cancelled_by_its_next_attempt():
    queued = a_run(checkpoint=PUBLISHING, attempt=1)
    asked = request_cancel(queued, NOW)
    assert (asked.state, asked.cancel_requested_at) == (State.QUEUED, NOW)
    given_up = swept(replace(asked, attempt=MAX_ATTEMPTS), asked.wake_at)
    assert given_up.state is State.CANCELLED
