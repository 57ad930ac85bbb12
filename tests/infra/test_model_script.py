"""The script language: strict, with errors that name the place; and the scripts that are shipped."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.errors import Invalid
from infra.local.model.library import load_library, parse_script
from infra.local.model.template import fill, names_in
from infra.local.rehearsal.catalogue import SCRIPTS, load_rehearsal
from tests.world.model import scripts, shipped_scripts

HELLO = 'match = "hello"\n[[turns]]\ntext = "hi"\n'
LISTS = '[[turns]]\ntext = "a"\ntools = [{ name = "Bash", input = { command = "ls" } }]\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("match = ", "not TOML"),
        ('match = "a"\n', "missing required field `turns`"),
        ('match = "a"\nturns = []\n', "length >= 1"),
        ('[[turns]]\ntext = "hi"\n', "exactly one of match and match_regex"),
        (HELLO.replace("text", "tekst"), "unknown field `tekst` - at `$.turns[0]`"),
        ('match = "a"\n[[turns]]\ntext = false\n', "`$.turns[0].text`"),
        ('match = "a"\n[[turns]]\n', "needs text, tools or a fault"),
        ('match_regex = "("\n[[turns]]\ntext = "hi"\n', "not a regular expression: '('"),
        (HELLO + 'expect = [{ contains = "x" }]\n', "turn 1 looks at tool results"),
        ('match = "a"\n' + LISTS + '[[turns]]\ntext = "b"\nexpect = [{ call = 1, contains = "x" }]\n', "call 1"),
        ('match = "a"\n' + LISTS + '[[turns]]\ntext = "b"\nexpect = [{ call = 0 }]\n', "needs contains, lacks"),
        ('match = "a"\n[[turns]]\ntext = "${file}"\n', "turn 1 uses ${file}"),
        ('match = "a"\n[[turns]]\ntools = [{ name = "T", input = { a = [{ b = "${x}" }] } }]\n', "uses ${x}"),
        ('match = "a"\n[[turns]]\ntools = [{ name = "T", input = {}, deltas = [] }]\n', "not both"),
        (HELLO + 'capture = [{ from = "prompt", pattern = "(.*)" }]\n', "named group"),
        (HELLO + 'fault = { kind = "fire" }\n', "Invalid value 'fire' - at `$.turns[0].fault.kind`"),
        (HELLO + 'fault = { kind = "http", status = 200 }\n', "`$.turns[0].fault.status`"),
        (HELLO + "repeat = 0\n", "`$.turns[0].repeat`"),
    ],
)
def test_a_wrong_script_is_refused_with_file_and_place(text, complaint):
    with pytest.raises(Invalid) as refusal:
        parse_script(text, name="wrong.toml")
    assert complaint in refusal.value.message
    assert refusal.value.message.startswith("wrong.toml")
    assert refusal.value.hint


def test_variables_come_from_captures_headers_and_the_working_directory():
    text = 'match = "a"\nvariables = ["token"]\n[[turns]]\ntext = "${cwd} ${token} $${literal} ${who}"\n'
    parse_script(text + "capture = [{ from = \"prompt\", pattern = 'by (?P<who>.+)' }]\n", name="a.toml")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(Invalid, match="not a folder of scripts"):
        load_library(tmp_path / "missing")


@given(st.text(), st.text())
def test_values_are_filled_in_once_and_never_read_again(before, value):
    quoted = before.replace("${", "$${")
    assert fill({"k": [quoted + "${v}"]}, {"v": value}) in (
        {"k": [before + value]},
        {"k": [fill(quoted + "${v}", {"v": value})]},
    )
    assert fill("${v}", {"v": "${v}" + value}) == "${v}" + value


def test_a_dollar_before_a_placeholder_makes_it_plain_text():
    assert fill("$${v} ${v}", {"v": "1"}) == "${v} 1"
    assert names_in("$${v}") == frozenset()


def test_ordinary_scripts_come_before_fallbacks_then_names_decide():
    library = scripts(a_fallback="fallback = true\n" + HELLO, c=HELLO, b=HELLO)
    chosen = library.choose("hello there")
    assert chosen is not None
    assert chosen[0] == "b"
    assert library.choose("good-bye") is None


def test_every_seed_issue_and_the_demo_have_the_script_of_their_repository():
    rehearsal, library = load_rehearsal(), shipped_scripts()
    tasks = [(seed.name, issue.title + "\n\n" + issue.body) for seed in rehearsal.repositories for issue in seed.issues]
    tasks.append((rehearsal.demo.repository, rehearsal.demo.context))
    for repository, task in tasks:
        chosen = library.choose(f"Some rules.\n-----task text-----\n{task}\n-----task text-----\n")
        assert chosen is not None
        assert chosen[0] == repository.partition("/")[2]


def test_seed_repositories_are_complete():
    for seed in load_rehearsal().repositories:
        names = [name for name, _ in seed.files()]
        assert "README.md" in names
        assert seed.issues
    assert ".gitignore" in [name for name, _ in load_rehearsal().by_name["rehearsal/invoices"].files()]


def test_the_program_prints_its_address_and_ends_on_sigterm():
    command = [sys.executable, "-m", "infra.local.model", "--scripts", str(SCRIPTS), "--key", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.terminate()
        assert process.wait(10) == 0


def test_the_program_refuses_a_wrong_script(tmp_path):
    (tmp_path / "wrong.toml").write_text("match = 1\n")
    command = [sys.executable, "-m", "infra.local.model", "--scripts", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("wrong.toml is not a script: Expected `str`, got `int` - at `$.match`.")
