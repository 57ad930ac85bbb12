"""From wishes to runs: one, or all that waited; what is worked on, by whom it was asked, and what rests."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.ask import Ask, Place, PullHead, Via, Wish, task_of
from infra.core.requested import MOST_TOGETHER, base_of, cooling, requested, says_the_same, together
from infra.core.run import Limits, Run, State
from infra.core.trigger import MAX_TASK_CHARS
from infra.core.triggers import On, Trigger

LIMITS = Limits(budget_micros=5_000_000, wall_seconds=60, idle_seconds=60, max_turns=50)
HEAD = PullHead(number=8, branch="feature", sha="a" * 40, base_branch="main", fork=False, open=True, draft=False)


def an_ask(text="Fix it.", actor="alice", via=Via.COMMENT, **changes):
    facts = {"author": actor, "trigger": "mention", "url": "u", "at": 1, "delivery": "d", "model": "m"}
    return Ask(actor=actor, text=text, via=via, **(facts | changes))


def a_wish(text="Fix it.", *, number=8, is_pull=True, head=HEAD, **changes):
    parts = {name: changes.pop(name) for name in ("ref", "sha", "label") if name in changes}
    return Wish(
        ask=an_ask(text, **changes),
        owner="acme",
        repo="shop",
        installation_id=9,
        number=number,
        is_pull=is_pull,
        title="Totals",
        url="https://github.com/acme/shop/pull/8",
        head=head,
        **parts,
    )


def base(*wishes):
    return base_of(requested(wishes, LIMITS), wishes)


def test_an_open_pull_request_is_worked_on_at_the_head_it_had_then():
    request = requested((a_wish(),), LIMITS)
    assert (request.ref, base(a_wish())) == ("feature", "a" * 40)
    assert (request.origin.kind, request.origin.pull, request.origin.issue) == ("github_pull", True, 8)


@pytest.mark.parametrize("change", [{"fork": True}, {"open": False}])
def test_a_fork_s_or_closed_head_is_not_worked_on(change):
    wish = a_wish(head=dataclasses.replace(HEAD, **change))
    request = requested((wish,), LIMITS)
    assert (request.ref, base(wish)) == ("main", "")
    assert request.head.sha == "a" * 40


def test_a_push_is_worked_on_at_its_commit():
    wish = a_wish(number=0, is_pull=False, head=None, ref="release/1", sha="b" * 40, via=Via.PUSH)
    assert (requested((wish,), LIMITS).ref, base(wish)) == ("release/1", "b" * 40)
    assert wish.subject == "release/1"


def test_an_issue_is_worked_on_at_the_default_branch():
    wish = a_wish(number=3, is_pull=False, head=None, via=Via.ISSUE, label="claude")
    request = requested((wish,), LIMITS)
    assert (request.ref, base(wish), request.origin.kind, request.origin.label) == ("", "", "github_issue", "claude")


def test_several_together_begin_where_the_branch_is_by_then():
    wishes = (a_wish("One.", actor="alice", budget_micros=1_000_000), a_wish("Two.", actor="bob", max_turns=9))
    request = requested(wishes, LIMITS)
    assert (request.ref, base(*wishes), request.head.sha) == ("feature", "", "")
    assert [ask.actor for ask in request.asks] == ["alice", "bob"]
    assert (request.limits.budget_micros, request.limits.max_turns) == (1_000_000, 9)


def test_a_thread_is_answered_where_it_is():
    place = Place(path="a", line=1, start=1, side="RIGHT", hunk="")
    origin = requested((a_wish(via=Via.LINE, id=601, place=place),), LIMITS).origin
    assert (origin.comment, origin.in_thread) == (601, True)
    origin = requested((a_wish(via=Via.REVIEW, id=701),), LIMITS).origin
    assert (origin.comment, origin.in_thread) == (0, False)


@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=80))
def test_as_many_together_as_fit_and_never_none(sizes):
    wishes = [a_wish("x" * size) for size in sizes]
    count = together(wishes)
    assert 1 <= count <= min(len(wishes), MOST_TOGETHER)
    assert count == 1 or sum(sizes[:count]) <= MAX_TASK_CHARS
    if count < min(len(wishes), MOST_TOGETHER):
        assert sum(sizes[: count + 1]) > MAX_TASK_CHARS


def a_run(*asks):
    return Run(
        id="run-01jcqz7v8wabcdefghjkmnpqrs",
        owner="acme",
        repo="shop",
        installation_id=1,
        ref="",
        base_sha="",
        title="",
        task="",
        action="create-pr",
        origin=requested((a_wish(),), LIMITS).origin,
        limits=LIMITS,
        model="m",
        state=State.RUNNING,
        created_at=1,
        updated_at=1,
        launched_at=1,
        wake_at=None,
        asks=asks,
    )


def test_the_same_said_twice_is_not_waited_for():
    run = a_run(an_ask("Title\n\nBody", via=Via.ISSUE))
    assert says_the_same(run, a_wish("Title\n\nBody", via=Via.ISSUE))
    assert not says_the_same(run, a_wish("Title\n\nBody, changed", via=Via.ISSUE))
    assert not says_the_same(run, a_wish("Title\n\nBody", via=Via.COMMENT))
    # the same words in another comment are another wish
    assert not says_the_same(a_run(an_ask("again", id=1)), a_wish("again", id=2))


def test_checks_of_one_commit_are_one_wish():
    run = a_run(an_ask("", via=Via.CHECK, head="a" * 40, id=1))
    assert says_the_same(run, _check("a" * 40))
    assert not says_the_same(run, _check("b" * 40))


def _check(sha):
    wish = a_wish("", via=Via.CHECK, id=2)
    return dataclasses.replace(wish, ask=dataclasses.replace(wish.ask, head=sha))


@pytest.mark.parametrize(("started", "rests"), [(None, False), (0, False), (50_000, True), (40_000, False)])
def test_a_trigger_rests(started, rests):
    trigger = Trigger(on=On.LABEL, name="claude", cooldown_seconds=60)
    assert bool(cooling(trigger, started, 100_000)) is rests
    assert cooling(dataclasses.replace(trigger, cooldown_seconds=0), started, 100_000) == ""


def test_the_task_names_who_said_what():
    assert task_of((an_ask("One."),)) == "One."
    assert task_of((an_ask("One."), an_ask("Two.", actor="bob", via=Via.LINE))) == (
        "alice (comment):\nOne.\n\nbob (line comment):\nTwo."
    )
    assert task_of((an_ask("", instructions="Review it."),)) == "Review it."
