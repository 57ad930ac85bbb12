"""Numbered events: what is new is kept once, what is missing is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import Instant
from infra.core.errors import Invalid
from infra.core.timeline import Event, EventType, next_chunk


def events(first, last):
    return [
        Event(sequence=n, type=EventType.STDOUT, at=Instant(n), data={"text": str(n)}) for n in range(first, last + 1)
    ]


def test_a_fresh_batch_is_one_chunk():
    chunk = next_chunk(5, events(5, 8))
    assert (chunk.first, chunk.last, len(chunk.events)) == (5, 8, 4)


def test_what_was_stored_before_is_left_out():
    assert next_chunk(7, events(5, 8)).first == 7
    assert next_chunk(9, events(5, 8)) is None


def test_a_gap_is_refused_with_the_number_to_send_from():
    with pytest.raises(Invalid) as caught:
        next_chunk(5, events(7, 8))
    assert caught.value.code == "sequence_gap"
    assert "5" in caught.value.hint


def test_numbers_that_do_not_rise_are_refused():
    with pytest.raises(Invalid) as caught:
        next_chunk(1, [*events(1, 2), *events(2, 3)])
    assert caught.value.code == "sequence_backwards"


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10)), max_size=30))
def test_however_batches_repeat_and_overlap_the_log_has_each_number_once(batches):
    log, expected = [], 1
    for first, length in batches:
        try:
            chunk = next_chunk(expected, events(first, first + length))
        except Invalid:
            assert first > expected
            continue
        if chunk:
            log += [event.sequence for event in chunk.events]
            expected = chunk.last + 1
    assert log == list(range(1, expected))
