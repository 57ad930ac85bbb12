"""Which answer comes next: stateless, honest about unmet expectations, undisturbed by what the CLI adds."""

import pytest

from infra.local.model.conversation import parse_conversation
from infra.local.model.director import NOTICE, perform
from infra.local.model.protocol import message
from infra.local.model.tokens import Usage
from tests.world.model import assistant, request, results, scripts, user

FIX = """
match = "fix the bug"
variables = ["greeting"]
[[turns]]
text = "I run the tests."
tools = [{ name = "Bash", input = { command = "run" } }, { name = "Bash", input = { command = "look" } }]
[[turns]]
text = "Line ${line} of ${file}."
capture = [{ call = 1, pattern = '(?P<file>\\S+):(?P<line>\\d+)' }]
expect = [{ call = 0, failed = true, contains = "FAILED", otherwise = "The tests should fail first." }]
tools = [{ name = "Edit", input = { file_path = "${cwd}/${file}", edits = [{ line = "${line}" }] } }]
[[turns]]
text = "Fixed ${file}."
expect = [{ lacks = "refused" }]
"""
LIBRARY = scripts(
    fix=FIX,
    other='match = "something else"\n[[turns]]\ntext = "other"\n',
    note="fallback = true\nmatch_regex = '(?s)^TASK .*'\n[[turns]]\ntext = '${task}'\n"
    "capture = [{ from = 'prompt', pattern = '(?s)^TASK (?P<task>.*)$' }]\n",
)


def answer(*messages, library=LIBRARY, headers=(("X-Script-Var-cwd", "/repo"),)):
    performance = perform(library, parse_conversation(request(*messages), headers))
    usage = Usage(input=1, cache_read=0, cache_write=0, output=1, long_lived=False)
    identity = f"msg_script_{len(messages)}"
    return performance, message(performance.answer, identity=identity, model="m", usage=usage)


def said(reply):
    return reply["content"][0]["text"]


def failing(reply, first="FAILED (failures=1)", second="src/a.py:12: bad"):
    seen = results(reply, first, second)
    seen["content"][0]["is_error"] = True
    return seen


def test_values_read_from_results_are_used_later():
    first = answer(user("please fix the bug"))[1]
    assert said(first) == NOTICE + "I run the tests."
    history = [user("please fix the bug"), assistant(first), failing(first)]
    second = answer(*history)[1]
    assert said(second) == "Line 12 of src/a.py."
    assert second["content"][1]["input"] == {"file_path": "/repo/src/a.py", "edits": [{"line": "12"}]}
    history += [assistant(second), results(second, "edited")]
    last = answer(*history)[1]
    assert said(last) == "Fixed src/a.py."
    assert last["stop_reason"] == "end_turn"


def test_results_are_told_apart_by_their_ids_not_by_their_order():
    first = answer(user("fix the bug"))[1]
    seen = failing(first)
    seen["content"].reverse()
    assert said(answer(user("fix the bug"), assistant(first), seen)[1]) == "Line 12 of src/a.py."


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("OK", "src/a.py:12", "The tests should fail first."),
        ("FAILED", "nothing", "nothing fits"),
    ],
)
def test_an_unmet_expectation_is_said_openly_and_ends_the_script(first, second, words):
    opening = answer(user("fix the bug"))[1]
    history = [user("fix the bug"), assistant(opening), failing(opening, first, second)]
    performance, reply = answer(*history)
    assert performance.stopped
    assert said(reply).startswith(NOTICE + "The script stops here")
    assert words in said(reply)
    assert (first if first == "OK" else second) in said(reply)
    assert [block["type"] for block in reply["content"]] == ["text"]
    assert reply["stop_reason"] == "end_turn"
    again, _ = answer(*history, assistant(reply), user("Stop hook feedback: run the tests"))
    assert again.stopped == performance.stopped


def test_a_call_that_should_have_failed_but_did_not_is_unmet():
    opening = answer(user("fix the bug"))[1]
    passed = results(opening, "FAILED", "src/a.py:12")
    assert answer(user("fix the bug"), assistant(opening), passed)[0].stopped


def test_a_missing_result_is_unmet():
    opening = answer(user("fix the bug"))[1]
    assert answer(user("fix the bug"), assistant(opening), user("[Request interrupted by user]"))[0].stopped


def test_an_unknown_working_directory_is_said_and_not_guessed():
    first = answer(user("fix the bug"))[1]
    performance, reply = answer(user("fix the bug"), assistant(first), failing(first), headers=())
    assert "X-Script-Var-cwd" in performance.stopped
    assert len(reply["content"]) == 1


def test_people_cannot_set_the_working_directory():
    first = answer(user("fix the bug"))[1]
    asked = user("fix the bug\nPrimary working directory: /etc")
    assert "X-Script-Var-cwd" in answer(asked, assistant(first), failing(first), headers=())[0].stopped


def test_texts_of_the_cli_do_not_change_the_script():
    first = answer(user("fix the bug"))[1]
    seen = failing(first)
    seen["content"].append({"type": "text", "text": "<system-reminder>be careful</system-reminder>"})
    assert said(answer(user("fix the bug"), assistant(first), seen)[1]) == "Line 12 of src/a.py."


@pytest.mark.parametrize("role", ["assistant", "system"])
def test_only_what_a_user_says_chooses_the_script(role):
    history = [user("fix the bug"), {"role": role, "content": "something else"}]
    assert answer(*history)[0].script == "fix"


def test_a_later_text_that_fits_starts_its_own_script():
    first = answer(user("fix the bug"))[1]
    performance, reply = answer(user("fix the bug"), assistant(first), user("no, something else"))
    assert (performance.script, performance.turn) == ("other", 0)
    assert said(reply) == NOTICE + "other"


def test_after_the_last_turn_nothing_is_pretended():
    reply = answer(user("something else"))[1]
    after = answer(user("something else"), assistant(reply), user("and now?"))[1]
    assert said(after) == NOTICE + "The script is over; there is nothing more to say."


def test_without_a_script_nothing_is_changed_and_that_is_said():
    performance, reply = answer(user("make me rich"))
    assert performance.script == ""
    assert said(reply).startswith(NOTICE + "No script fits")
    assert len(reply["content"]) == 1


def test_what_people_write_is_never_read_as_a_template():
    assert said(answer(user("TASK print ${cwd} and $${task}"))[1]) == NOTICE + "print ${cwd} and $${task}"


def test_repeat_plays_the_turn_again_and_again():
    library = scripts(loop='match = "loop"\n[[turns]]\nrepeat = 3\ntools = [{ name = "Bash" }]\n')
    history = [user("loop")]
    for _ in range(3):
        performance, reply = answer(*history, library=library)
        assert reply["stop_reason"] == "tool_use"
        history += [assistant(reply), results(reply, "ok")]
    assert performance.turn == 2
    assert "script is over" in said(answer(*history, library=library)[1])


def test_raw_deltas_and_pieces_are_sent_as_written():
    text = 'match = "leak"\n[[turns]]\ntext = ["sk-ant", "-api03-", "abc"]\ntools = [{ name = "Bash", deltas = [\'{"comm\', \'and":"l\', \'s"}\'] }]\n'
    performance, reply = answer(user("leak"), library=scripts(leak=text))
    assert performance.answer.blocks[0].pieces == (NOTICE, "sk-ant", "-api03-", "abc")
    assert performance.answer.blocks[1].deltas == ('{"comm', 'and":"l', 's"}')
    assert reply["content"][1]["input"] == {"command": "ls"}


def test_a_long_text_keeps_the_number_of_deltas_small():
    performance, _ = answer(user("TASK " + "x" * 60_000))
    assert len(performance.answer.blocks[0].pieces) <= 62
    assert performance.answer.blocks[0].text == NOTICE + "x" * 60_000


def test_stop_reason_and_usage_can_be_scripted():
    text = 'match = "big"\n[[turns]]\ntext = "cut"\nstop_reason = "max_tokens"\nusage = { output_tokens = 5000000 }\n'
    performance, reply = answer(user("big"), library=scripts(big=text))
    assert reply["stop_reason"] == "max_tokens"
    assert performance.answer.usage.output_tokens == 5_000_000
