"""What is done about red checks: mended when they are the change's fault, at most so often; else a person is asked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.ci_repair import (
    AskPerson,
    Caps,
    Green,
    History,
    Kind,
    RedCheck,
    Repair,
    Rerun,
    counted,
    judge,
    kind_of,
)
from infra.core.ids import RunId

HEAD = "a" * 40
CAPS = Caps(per_head=1, per_pull=3)
CHECK = RedCheck(id=1, name="tests", app="github-actions", conclusion="failure", said="")


def run_id(number):
    return RunId(f"run-01jcqz7v8wabcdefghjkmn{number:04d}")


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        (replace(CHECK, on_base="success"), Kind.REAL),
        (replace(CHECK, said="AssertionError: 3 != 4"), Kind.REAL),
        (replace(CHECK, on_base="failure", said="AssertionError: 3 != 4"), Kind.INHERITED),
        (replace(CHECK, here=("failure", "success"), on_base="success"), Kind.FLAKY),
        (replace(CHECK, said="fatal: Could not resolve host: github.com", on_base="success"), Kind.FLAKY),
        (replace(CHECK, said="The runner has received a shutdown signal."), Kind.FLAKY),
        (CHECK, Kind.UNCLEAR),
    ],
)
def test_kinds(check, kind):
    assert kind_of(check) is kind


def test_nothing_red_is_green():
    assert judge((), History(), head=HEAD, caps=CAPS) == Green()


def test_a_real_failure_is_repaired_once_for_each_commit_and_three_times_in_all():
    real, history = replace(CHECK, on_base="success"), History()
    for number in range(3):
        head = f"{number:040d}"
        verdict = judge((real,), history, head=head, caps=CAPS)
        assert verdict == Repair((real,))
        history = counted(history, verdict, head=head, run_id=run_id(number))
        asked = judge((real,), history, head=head, caps=CAPS)
        assert isinstance(asked, AskPerson)
    assert isinstance(judge((real,), history, head="9" * 40, caps=CAPS), AskPerson)


def test_a_flaky_check_is_started_again_once_and_costs_no_repair():
    flaky, history = replace(CHECK, here=("success", "failure")), History()
    verdict = judge((flaky,), history, head=HEAD, caps=CAPS)
    assert verdict == Rerun((flaky,))
    history = counted(history, verdict, head=HEAD, run_id=run_id(1))
    assert history.repairs == 0
    assert isinstance(judge((flaky,), history, head=HEAD, caps=CAPS), AskPerson)


@pytest.mark.parametrize("check", [CHECK, replace(CHECK, on_base="timed_out")])
def test_what_is_unclear_or_red_on_the_base_is_a_persons_matter(check):
    assert isinstance(judge((check,), History(), head=HEAD, caps=CAPS), AskPerson)


def test_a_real_failure_among_others_is_what_gets_repaired():
    real = replace(CHECK, id=2, name="lint", on_base="success")
    assert judge((CHECK, real, replace(CHECK, on_base="failure")), History(), head=HEAD, caps=CAPS) == Repair((real,))


CHECKS = st.builds(
    RedCheck,
    id=st.integers(1, 9),
    name=st.sampled_from(["a", "b"]),
    app=st.just("ci"),
    conclusion=st.sampled_from(["failure", "timed_out"]),
    said=st.sampled_from(["", "boom", "ECONNRESET"]),
    here=st.sampled_from([(), ("failure",), ("success", "failure")]),
    on_base=st.sampled_from(["", "success", "failure"]),
)


@given(st.lists(st.tuples(st.lists(CHECKS, min_size=1, max_size=4), st.sampled_from([HEAD, "b" * 40])), max_size=30))
def test_whatever_happens_the_caps_hold(events):
    history, repairs, reruns = History(), {}, {}
    for number, (red, head) in enumerate(events):
        verdict = judge(tuple(red), history, head=head, caps=CAPS)
        history = counted(history, verdict, head=head, run_id=run_id(number))
        repairs[head] = repairs.get(head, 0) + isinstance(verdict, Repair)
        reruns[head] = reruns.get(head, 0) + isinstance(verdict, Rerun)
    assert all(count <= CAPS.per_head for count in repairs.values())
    assert all(count <= 1 for count in reruns.values())
    assert sum(repairs.values()) <= CAPS.per_pull
