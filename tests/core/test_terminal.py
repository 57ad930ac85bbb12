"""Control sequences: only colours are left, nothing is hidden, and cuts do not matter."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.core.redaction import MARK, Redactor
from infra.core.terminal import LONGEST_STRING, CleanStream, clean

ALLOWED = re.compile(r"\x1b\[[0-9;]+m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[m", "\x1b[0m"),
        ("\x1b[38;5;8mgrey \x1b[48;2;1;2;3mbox", "\x1b[38;5;8mgrey \x1b[48;2;1;2;3mbox"),
        ("\x1b[8mhidden\x1b[5mblink", "hiddenblink"),
        ("\x1b[1;8;31mx", "\x1b[1;31mx"),
        ("\x1b[38;5mx\x1b[38;2;1mx", "xx"),
        ("\x9b31mred", "\x1b[31mred"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]0;a title\x1b\\text", "text"),
        ("\x9d0;a title\x9ctext", "text"),
        ("\x1b]8;;https://evil.test\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1b]52;c;ZXZpbA==\x07x", "x"),
        ("\x1bPq#0;2;0;0;0\x1b\\x", "x"),
        ("\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\x", "x"),
        ("\x1b[2J\x1b[H\x1b[10;5fx\x1b[?25l\x1b[>c", "x"),
        ("\x1b(B\x1b=\x1b7\x1bc\x1b#8x", "x"),
        ("visible\rhidden", "visible\nhidden"),
        ("dos\r\nline\r\r\nend\r", "dos\nline\nend\n"),
        ("a\x08b\x07c\x00d\x7fe\x0ef", "abcdef"),
        ("one\x0btwo\x0cthree\x85four", "one\ntwo\nthree\nfour"),
        ("\x1b[31", ""),
        ("\x1b", ""),
        ("\x1b[31\nnext", "\nnext"),
        ("\x1b]0;never closed\nnext line", "\nnext line"),
        ("\x1b[1!mx\x1b[?1mx", "xx"),
    ],
)
def test_only_colours_and_text_are_left(text, expected):
    assert clean(text) == expected


def test_an_unclosed_string_hides_a_bounded_stretch_only():
    assert clean("\x1b]0;" + "x" * (LONGEST_STRING - 2) + "visible") == "visible"
    stream = CleanStream()
    shown = stream.feed("\x1bP")
    for _ in range(200):
        shown += stream.feed("x" * 50)
        assert len(stream._held) <= 80
    assert len(shown) == 10_000 - LONGEST_STRING


def test_an_endless_run_of_returns_or_numbers_is_held_within_bounds():
    for unit in ("\r", "\x1b[", "1", "\x1b", " "):
        stream = CleanStream()
        stream.feed("\x1b[")
        for _ in range(100):
            stream.feed(unit * 50)
            assert len(stream._held) <= 80
        assert clean("\r" * 1_000 + "x") == "\nx"


traps = st.sampled_from(
    [
        *("\x1b", "[", "]", "0;", "31", "m", "\x1b[31m", "\x1b]0;t\x07", "\x1b]8;;u\x1b\\", "\r", "\n", "\r" * 90),
        *(
            "\x9b",
            "\x9d",
            "\x9c",
            "\x90",
            "\x1bP",
            "\\",
            "?25l",
            "\x1b[2J",
            "\x08",
            "\x07",
            "38;5;8",
            "38;2;1;2;3",
            "8",
        ),
        *("1" * 70, "y" * 4_095, "\x85", "\x0b", "é", "\x18"),
    ]
)
texts = st.lists(st.one_of(traps, st.text(max_size=8)), max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=texts, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_cuts_do_not_matter_and_the_result_is_clean(text, sizes):
    whole = clean(text)
    stream, out, at = CleanStream(), "", 0
    for size in sizes:
        out += stream.feed(text[at : at + size])
        at += size
    assert out + stream.feed(text[at:]) + stream.flush() == whole
    assert clean(whole) == whole
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ALLOWED.sub("", whole))


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=80))
def test_printable_text_is_unchanged(text):
    assert clean(text) == text


def test_a_secret_torn_by_any_control_sequence_is_masked_after_cleaning():
    source = random.Random(3)
    secret = "N7kQ2vX9bLm4TzR6wPc8"
    redactor = Redactor([secret])
    tears = (
        "\x1b[K",
        "\x1b[1m",
        "\x1b[5D\x1b[5C",
        "\x1b]0;t\x07",
        "\x1b]8;;u\x1b\\",
        "\x08",
        "\r",
        "\x00",
        "\x1b(B",
        "\x9b0m",
        "\x1b[?25h",
    )
    for tear in tears:
        for _ in range(20):
            cut = source.randint(1, len(secret) - 1)
            cleaned, masked = CleanStream(), redactor.stream()
            text = f"a {secret[:cut]}{tear}{secret[cut:]} z"
            output = (
                "".join(masked.feed(cleaned.feed(char)) for char in text)
                + masked.feed(cleaned.flush())
                + masked.flush()
            )
            assert output.replace("\x1b[1m", "").replace("\x1b[0m", "") == f"a {MARK} z"


def test_cleaning_is_linear():
    import time

    for unit in ("\x1b[", "\x1b]", "\r", "\x1b[31m", "\x1bP" + "x" * 50, "\x9b1;", "\x1b    "):
        start = time.process_time()
        clean((unit * 500_000)[:500_000])
        assert time.process_time() - start < 5, unit
