"""The list of features is honest: every pointer exists, every id appears once, nothing lacks a state."""

import re

import pytest

from tests.docs import ROOT

PAGE = (ROOT / "docs" / "features.md").read_text()
SIZES = {"S0": 60, "S1": 145, "S2": 94, "S3": 72, "S4": 229}
"""How many things each system names."""

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| S\d+\.\d+ \|", line)
]


def paths(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_line_of_a_table_is_a_row():
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    others = [line for line in lines if not re.match(r"\| S\d+\.\d+ \|", line)]
    assert {re.sub(r"[-\s]", "", line) for line in others} <= {"|id|what|where|shownby|state|", "||||||"}
    assert [row for row in ROWS if len(row) != 5] == []


def test_every_id_appears_once_and_exists():
    ids = [row[0] for row in ROWS]
    assert sorted(ids) == sorted(set(ids))
    for name in ids:
        system, _, number = name.partition(".")
        assert 1 <= int(number) <= SIZES[system], name


def test_s0_is_complete():
    assert {row[0] for row in ROWS} >= {f"S0.{number}" for number in range(1, SIZES["S0"] + 1)}


@pytest.mark.parametrize("system", SIZES)
def test_rows_stand_under_the_heading_of_their_system_in_order(system):
    heading = f"## {system} – "
    assert heading in PAGE
    section = PAGE.partition(heading)[2].partition("\n## ")[0]
    assert f"({SIZES[system]})" in section.splitlines()[0]
    found = re.findall(r"^\| (S\d+)\.(\d+) \|", section, re.MULTILINE)
    assert {name for name, _ in found} <= {system}
    numbers = [int(number) for _, number in found]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_it_claims_and_its_pointers_exist(row):
    _, what, where, shown, state = row
    assert what
    assert [name for name in paths(where) + paths(shown) if not (ROOT / name).exists()] == []
    assert re.sub(r"`[^`]+`", "", where + shown).strip() == "", "these columns hold paths only"
    match state:
        case "done":
            assert paths(where), "done where?"
            assert paths(shown), "shown by what?"
        case "text":
            assert paths(where), "which page says it?"
        case _:
            assert state == "not yet", state
    assert [name for name in paths(shown) if not name.startswith("tests/")] == []
