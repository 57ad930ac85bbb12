"""The allow-list: word for word, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.commands import (
    AGENT_TYPES,
    CLAUDE_CODE,
    COMMANDS,
    LINES,
    check_command,
    commands_for,
    parse_extra,
)
from infra.core.errors import Forbidden, Invalid

FOURTEEN = """
npm test | npm run test | pnpm test | yarn test | pytest | pytest -v | go test ./... | cargo test
git diff | git diff --cached | git status | git log --oneline -10 | ls -la | pwd
"""


def test_the_fourteen_are_allowed_each_with_a_description():
    named = [text.strip() for line in FOURTEEN.strip().splitlines() for text in line.split("|")]
    assert [command.text for command in COMMANDS] == named
    assert all(command.description for command in COMMANDS)
    for text in named:
        assert check_command(text.split(" ")).text == text


@pytest.mark.parametrize(
    "text",
    [
        "git status; id",
        "git  status",
        "git status ",
        " git status",
        "git status --ext-diff",
        "git diff --ext-diff",
        "GIT status",
        "git\tstatus",
        "git status\n",
        "git",
        "",
        "pytest -v -x",
        "$(id)",
        "git -c core.pager=id diff",
    ],
)
def test_whatever_is_not_word_for_word_the_same_is_refused_by_name(text):
    with pytest.raises(Forbidden) as refused:
        check_command(text.split(" "))
    assert refused.value.code == "command_not_allowed"
    assert "git diff --cached" in refused.value.hint


@given(st.lists(st.text(max_size=12), max_size=5))
def test_nothing_else_passes(argv):
    known = {command.argv for command in COMMANDS}
    if tuple(argv) in known:
        assert check_command(argv).argv == tuple(argv)
    else:
        with pytest.raises(Forbidden):
            check_command(argv)


def test_one_word_that_holds_a_whole_command_is_not_that_command():
    with pytest.raises(Forbidden):
        check_command(["git status"])


def test_each_agent_type_has_a_list_of_its_own():
    assert check_command(["pytest"], agent=CLAUDE_CODE)
    with pytest.raises(Forbidden):
        check_command(["pytest"], agent=LINES)
    assert check_command(["git", "diff"], agent=LINES)
    assert {command.text for agent in AGENT_TYPES for command in commands_for(agent)} == {
        c.text for c in commands_for()
    }


def test_extra_commands_are_allowed_as_they_are_written():
    extra = parse_extra(" make build, make test,./custom-script.sh ,")
    assert [command.argv for command in extra] == [("make", "build"), ("make", "test"), ("./custom-script.sh",)]
    assert check_command(["make", "build"], extra=extra, agent=LINES)
    with pytest.raises(Forbidden):
        check_command(["make"], extra=extra)
    assert parse_extra("") == ()


@pytest.mark.parametrize(
    "text", ["make build; id", "make  build", "echo $HOME", "a|b", "a 'b'", "`id`", "x" * 201, "CC=evil make"]
)
def test_an_extra_command_that_seems_to_need_a_shell_is_refused_at_the_start(text):
    with pytest.raises(Invalid) as refused:
        parse_extra(text)
    assert refused.value.code == "invalid_extra_command"
