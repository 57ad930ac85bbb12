"""Which host works on a run, sizes, and the slots of runs under way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import Instant, later
from infra.core.errors import Invalid
from infra.core.execution import (
    MAX_REQUEST_SECONDS,
    Execution,
    ExecutionState,
    Host,
    ResourceClass,
    choose_host,
    fitting,
    parse_classes,
)
from infra.core.slots import FRESH, Caps, Slots

NOW = Instant(1_800_000_000_000)


@pytest.mark.parametrize(
    ("setting", "seconds", "host"),
    [
        ("auto", MAX_REQUEST_SECONDS, Host.SERVICE),
        ("auto", MAX_REQUEST_SECONDS + 1, Host.JOB),
        ("service", 60, Host.SERVICE),
        ("job", 60, Host.JOB),
        ("job", 7200, Host.JOB),
    ],
)
def test_the_host_follows_the_time_limit_unless_it_is_set(setting, seconds, host):
    assert choose_host(setting, seconds) is host


def test_a_run_too_long_for_the_service_says_what_to_do():
    with pytest.raises(Invalid) as caught:
        choose_host("service", MAX_REQUEST_SECONDS + 1)
    assert caught.value.code == "run_too_long"
    assert "EXECUTOR=auto" in caught.value.hint


def test_classes_are_read_smallest_first_and_requests_are_rounded_up():
    classes = parse_classes("4x8, 1x2,2x4")
    assert [str(one) for one in classes] == ["1x2", "2x4", "4x8"]
    assert fitting(classes, cpu=1, memory_gib=2) == ResourceClass(1, 2)
    assert fitting(classes, cpu=0.5, memory_gib=3.5) == ResourceClass(2, 4)
    assert fitting(classes, cpu=3, memory_gib=1) == ResourceClass(4, 8)
    with pytest.raises(Invalid) as caught:
        fitting(classes, cpu=8, memory_gib=1)
    assert "4 CPUs and 8 GiB" in caught.value.hint


@pytest.mark.parametrize("text", ["", "2", "x4", "2x", "0x4", "2x4,", "2 x 4", "2x4x8", "-2x4", "two"])
def test_what_is_no_class_is_refused(text):
    with pytest.raises(Invalid):
        parse_classes(text)


@given(st.integers(1, 99), st.integers(1, 999))
def test_a_class_reads_as_it_is_written(cpu, memory):
    assert parse_classes(str(ResourceClass(cpu, memory))) == (ResourceClass(cpu, memory),)


def test_only_pending_and_running_executions_go_on():
    going_on = [state for state in ExecutionState if not Execution(name="e", state=state).ended]
    assert going_on == [ExecutionState.PENDING, ExecutionState.RUNNING]


# slots

RUNS = st.tuples(st.integers(0, 30).map("run-{}".format), st.sampled_from(["a/x", "a/y", "b/z"]))
CAPS = st.builds(lambda total, each: Caps(total=total, per_repository=each), st.integers(0, 8), st.integers(0, 4))


@given(st.lists(st.tuples(RUNS, st.booleans()), max_size=60), CAPS)
def test_however_runs_come_and_go_no_limit_is_passed(steps, caps):
    slots = Slots()
    for (run_id, repository), leaves in steps:
        if leaves:
            slots = slots.without({run_id})
        elif run_id not in slots.held and slots.room(repository, caps):
            slots = slots.taken(run_id, repository, NOW)
        held = [slot.repository for slot in slots.held.values()]
        assert not caps.total or len(held) <= caps.total
        assert not caps.per_repository or all(held.count(name) <= caps.per_repository for name in held)


def test_there_is_room_up_to_the_limit_and_again_when_one_left():
    caps = Caps(total=2, per_repository=1)
    slots = Slots().taken("one", "a/x", NOW)
    assert not slots.room("a/x", caps)
    assert slots.room("a/y", caps)
    slots = slots.taken("two", "a/y", NOW)
    assert not slots.room("b/z", caps)
    assert slots.without({"one"}).room("b/z", caps)
    assert slots.room("b/z", Caps(total=0, per_repository=1))


def test_a_fresh_slot_is_not_taken_for_forgotten():
    slots = Slots().taken("one", "a/x", NOW)
    assert slots.older_than(later(NOW, FRESH - 1)) == ()
    assert slots.older_than(later(NOW, FRESH)) == ("one",)
