"""YAML from strangers: the plain values that are meant, or the place where it goes wrong; never slow, never big."""

import contextlib
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.core.container import check_container
from infra.core.tree import Place
from infra.documents import DocumentLimits, Unreadable, read_yaml


def plain(node):
    """The tree without its places."""
    if isinstance(node.value, dict):
        return {key: plain(entry.node) for key, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(each) for each in node.value]
    return node.value


def refused(source, **limits):
    with pytest.raises(Unreadable) as caught:
        read_yaml(source.encode() if isinstance(source, str) else source, DocumentLimits(**limits))
    return caught.value


def test_values_are_those_of_yaml_1_2_and_know_their_places():
    tree = read_yaml(b"a: 1\nb:\n  - no\n  - 'true'\n  - {x: 1.5, y: ~}\n")
    assert plain(tree) == {"a": 1, "b": ["no", "true", {"x": 1.5, "y": None}]}
    entry = tree.value["b"]
    assert entry.place == Place(2, 1)
    assert [each.place for each in entry.node.value] == [Place(3, 5), Place(4, 5), Place(5, 5)]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("0123", "0123"),
        ("0x10", "0x10"),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("-7", -7),
        ("1e3", 1000.0),
        ("True", True),
        ("", None),
    ],
)
def test_words_that_yaml_1_1_turned_into_something_else_stay_words(word, value):
    assert plain(read_yaml(f"key: {word}".encode())) == {"key": value}


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("a: 1\na: 2", (2, 1), "twice"),
        ("a: !!python/object/apply:os.system [id]", (1, 4), "Tags"),
        ("a: ! x", (1, 4), "Tags"),
        ("%TAG ! tag:example.org,2000:\n---\na: 1", (1, 1), "%TAG"),
        ("a: *nothing", (1, 4), "stands for nothing"),
        ("a: &a [*a]", (1, 8), "stands for nothing"),
        ("x: {a: 1}\n<<: 5", (2, 1), "Merge keys"),
        ("a: 1\n--- \nb: 1", (2, 1), "second document"),
        ("? [a, b]\n: 1", (1, 3), "single word"),
        ("a: [1, 2\nb: 3", (2, 2), "not YAML"),
        ("a:\n\t- b", (2, 1), "not YAML"),
        ("a: 'b", (1, 6), "not YAML"),
        ("a: b: c", (1, 5), "not YAML"),
        ("a: " + "9" * 5000, (1, 4), "digits"),
        ("a: b\nc: \x1b[31m", (2, 4), "U+001B"),
        ("a: \u2028x\n\ufffe", (3, 1), "U+FFFE"),
        ("[" * 1000, (1, 25), "nested"),
        ("- " * 1000 + "x", (1, 49), "nested"),
    ],
)
def test_what_is_refused_is_refused_with_its_place(source, place, words):
    error = refused(source)
    assert error.place == Place(*place)
    assert words in error.message
    assert f"line {place[0]}, column {place[1]}" in error.message


def test_bytes_that_are_no_text_are_refused_where_they_begin():
    assert refused(b"a: 1\nb: \xff\xfe").place == Place(2, 4)


def test_empty_files_and_comments_are_nothing():
    assert [read_yaml(source).value for source in (b"", b"# only a comment\n", b"---\n", b"\xef\xbb\xbf")] == [None] * 4


def test_aliases_count_as_often_as_they_are_used():
    assert plain(read_yaml(b"a: &a [1, 2]\nb: *a")) == {"a": [1, 2], "b": [1, 2]}
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    assert "values" in refused(bomb).message
    deep = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40))
    assert "nested" in refused(deep).message


def test_a_file_over_its_size_is_not_even_parsed():
    assert "bytes" in refused(b"#" * 200_000).message


HOSTILE = st.one_of(
    st.text(alphabet="-[]{}:,&*!|>'\"%@`#?\n\t ab1<~.", max_size=400),
    st.lists(st.sampled_from(["- ", "? ", ": ", "[", "{", "&a ", "*a ", "!!x ", "|\n", "'", '"', "\n", "  ", "a"])).map(
        "".join
    ),
    st.binary(max_size=200),
)


@given(HOSTILE)
@settings(max_examples=300)
def test_whatever_is_written_is_a_tree_or_an_error_with_a_place_inside_of_the_text(source):
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    place = Place(1, 1)
    try:
        read_yaml(data)
    except Unreadable as error:
        place = error.place
    assert 1 <= place.line <= data.count(b"\n") + data.count(b"\r") + 3
    assert place.column >= 1


BMP = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])  # JSON writes others in two halves, YAML does not
KEYS = st.text(BMP, min_size=1, max_size=8).filter(lambda key: key != "<<")
SIMPLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(BMP, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(SIMPLE)
@settings(max_examples=150)
def test_json_is_read_as_what_it_says(value):
    import json

    assert plain(read_yaml(json.dumps({"root": value}).encode())) == {"root": value}


@pytest.mark.parametrize(
    "source",
    [
        b"[" * 130_000,
        b"{a: " * 30_000,
        b"- " * 60_000,
        b"a: " + b"x" * 130_000,
        b"? " * 60_000,
        b"'" * 130_000,
        b"&a " * 40_000,
        b"a: |\n" + b" x\n" * 40_000,
        b"{" + b"a,b," * 32_000,
        b"- a\n" * 32_000,
        b"\n".join(b"k%d: v" % number for number in range(11_000)),
        b": " * 60_000,
        b"!" * 130_000,
        b"%" + b"a" * 130_000,
    ],
    ids=lambda source: repr(source[:8]),
)
def test_the_worst_files_cost_little(source):
    """The bounds are far above what was measured (60 ms, 12 MB), and far below what would hurt."""
    tracemalloc.start()
    before = time.process_time()
    with contextlib.suppress(Unreadable):
        read_yaml(source)
    seconds, peak = time.process_time() - before, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20
    assert seconds < 5


@pytest.mark.full
def test_ten_thousand_mutated_files_are_read_or_refused_quickly():
    """A whole project file with bytes changed, doubled and cut. The slowest of them took 12 ms when this was written."""
    source = (
        (Path(__file__).parents[2] / "docs" / "project.md").read_bytes().partition(b"```yaml\n")[2].partition(b"```")[0]
    )
    dice = random.Random(20261121)
    slowest = 0.0
    for _ in range(10_000):
        data = bytearray(source)
        for _ in range(dice.randint(1, 6)):
            place = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[place] = dice.randrange(256)
                case 1:
                    data[place:place] = dice.choice(
                        [b"&a ", b"*a ", b"[", b"{", b"- ", b"\n", b"!!x ", b"'", b'"', b"|\n", b"\t"]
                    )
                case 2:
                    del data[place : place + dice.randint(1, 40)]
                case _:
                    data[place:place] = data[place : place + dice.randint(1, 200)]
            data = data or bytearray(b" ")
        before = time.process_time()
        with contextlib.suppress(Unreadable):
            check_container(read_yaml(bytes(data)))
        slowest = max(slowest, time.process_time() - before)
    assert slowest < 1
