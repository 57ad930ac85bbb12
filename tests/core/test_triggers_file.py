""".claude/triggers.yaml: every key honoured, every mistake told with its line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.errors import Invalid
from infra.core.tree import Entry, Node, Place
from infra.core.triggers import FAILURES, Filter, LabelFilter, Names, On, Paths, Trigger
from infra.core.triggers_file import check_triggers
from infra.documents import read_yaml

EVERYTHING = """\
bots: [15368]
triggers:
  - on: label
    label: claude
    labels: {all: [bug], any: [ui, api], none: [wontfix]}
  - on: mention
    handle: "@claude"
    authors: {only: [ada, "al*"], not: [eve]}
    teams: [backend]
    permission: maintain
    cooldown: 10m
  - on: command
    command: /fix
    model: claude-haiku-4-5
  - on: assignment
    assignee: claude-helper
  - on: pull_request
    branches: [main, release/*]
    files: {only: [src], not: ["*.md"]}
    draft: false
    instructions: Review it for security.
  - on: review
    state: commented
  - on: ci_failed
    checks: ["test*"]
    conclusions: [failure]
  - on: push
    branches: {not: ["claude/*"]}
    instructions: |
      Update the notes.
"""


def errors(text):
    return [each.told("f") for each in check_triggers(read_yaml(text.encode())).findings.errors]


def test_everything_there_is():
    checked = check_triggers(read_yaml(EVERYTHING.encode()))
    assert checked.findings.all == []
    found = checked.triggers
    assert found.bots == (15368,)
    assert found.items == (
        Trigger(
            on=On.LABEL,
            name="claude",
            filter=Filter(labels=LabelFilter(all=("bug",), any=("ui", "api"), none=("wontfix",))),
        ),
        Trigger(
            on=On.MENTION,
            name="claude",
            filter=Filter(
                authors=Names(only=("ada", "al*"), never=("eve",)), teams=("backend",), permission="maintain"
            ),
            cooldown_seconds=600,
        ),
        Trigger(on=On.COMMAND, name="fix", model="claude-haiku-4-5"),
        Trigger(on=On.ASSIGNMENT, name="claude-helper"),
        Trigger(
            on=On.PULL_REQUEST,
            filter=Filter(
                branches=Names(only=("main", "release/*")), files=Paths(only=("src",), never=("*.md",)), draft=False
            ),
            instructions="Review it for security.",
        ),
        Trigger(on=On.REVIEW, name="commented"),
        Trigger(on=On.CI_FAILED, filter=Filter(checks=Names(only=("test*",)), conclusions=("failure",))),
        Trigger(on=On.PUSH, filter=Filter(branches=Names(never=("claude/*",))), instructions="Update the notes."),
    )


def test_what_is_left_out_has_a_meaning():
    review, ci = check_triggers(read_yaml(b"triggers:\n- on: review\n- on: ci_failed\n")).triggers.items
    assert review.name == "changes_requested"
    assert ci.filter.conclusions == FAILURES


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f:1:1 triggers: There is no trigger here"),
        ("triggers: []", "There is no trigger here"),
        ("triggers:\n- on: lable\n  label: x", "f:2:7 triggers[0].on: lable is not known here. Did you mean label?"),
        ("triggers:\n- label: x", "f:2:3 triggers[0].on: What does it listen to?"),
        ("triggers:\n- on: label", "triggers[0].label: A trigger on label needs label."),
        ("triggers:\n- on: push", "A trigger on push needs instructions"),
        ("triggers:\n- on: label\n  label: x\n  lables: {}", "f:4:3 triggers[0].lables: There is no key lables here."),
        ("triggers:\n- on: label\n  label: x\n  labels: {al: [x]}", "triggers[0].labels.al: There is no key al here."),
        ("triggers:\n- on: label\n  label: x\n  checks: [t]", "Only a trigger on ci_failed knows checks."),
        ("triggers:\n- on: label\n  label: x\n  cooldown: 10", "f:4:13 triggers[0].cooldown: 10 is no duration."),
        ("triggers:\n- on: label\n  label: x\n  cooldown: 999h59m59s", "longer than 30 days"),
        ("triggers:\n- on: label\n  label: x\n  permission: read", "read is not known here."),
        ("triggers:\n- on: label\n  label: x\n  draft: no", "triggers[0].draft: Write true or false."),
        ("triggers:\n- on: label\n  label: x\n  authors: ada", "a list belongs here"),
        ("triggers:\n- on: label\n  label: x\n  teams: [acme/core]", "triggers[0].teams[0]: The slug of a team"),
        ('triggers:\n- on: mention\n  handle: "@a b"', "The name that people mention belongs here"),
        ("triggers:\n- on: command\n  command: /a/b", "A word with a slash before it belongs here"),
        ('bots: ["helper[bot]"]\ntriggers:\n- on: review', "f:1:8 bots[0]: The id of a GitHub App belongs here"),
        ("bots: [true]\ntriggers:\n- on: review", "The id of a GitHub App"),
        ("triggers: 5", "a list belongs here"),
        ("- on: label", "a group of keys belongs here"),
        ("trigers:\n- on: review", "There is no key trigers here. Did you mean triggers?"),
    ],
)
def test_mistakes_are_told_with_their_line(text, told):
    found = errors(text)
    assert any(told in each for each in found), found


def test_all_mistakes_at_once():
    assert len(errors("bots: [x]\ntriggers:\n- on: label\n- on: push\n  modle: y\n")) == 4


def test_no_more_than_there_is_room_for():
    assert "more than 50 triggers" in errors("triggers:\n" + "- on: review\n" * 51)[0]
    many = ", ".join(f"a{n}" for n in range(51))
    assert "more than 50" in errors(f"triggers:\n- on: review\n  authors: [{many}]")[0]


PLACE = Place(1, 1)
KEYS = ["on", "label", "triggers", "bots", "authors", "only", "not", "labels", "cooldown", "files", "draft", "x"]
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([on.value for on in On])
trees = st.recursive(
    scalars.map(lambda value: Node(value, PLACE)),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda nodes: Node(tuple(nodes), PLACE))
        | st.dictionaries(st.sampled_from(KEYS), inner.map(lambda node: Entry(PLACE, node)), max_size=5).map(
            lambda entries: Node(entries, PLACE)
        )
    ),
    max_leaves=20,
)


@given(trees)
def test_any_tree_is_read_or_told(tree):
    checked = check_triggers(tree)
    assert checked.findings.errors or checked.triggers.items


@given(st.text(max_size=200))
def test_any_text_is_read_or_told(text):
    try:
        checked = check_triggers(read_yaml(text.encode()))
    except Invalid:
        return
    assert checked.findings.errors


def test_the_documented_file_is_a_right_one():
    page = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    checked = check_triggers(read_yaml(example.encode()))
    assert checked.findings.all == []
    assert {trigger.on for trigger in checked.triggers.items} == set(On)
