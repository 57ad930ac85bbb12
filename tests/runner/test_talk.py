"""Talking to an agent at work, with the real Claude Code CLI against a scripted model: messages, interruptions, questions."""

import asyncio

import pytest

from infra.core.timeline import EventType
from runner.agents.ask_tool import question_of
from runner.agents.claude_code import preload
from runner.agents.port import Inbox, Mail, Question, QuestionKind
from tests.runner.agent_rig import rig_in
from tests.runner.upstream import say, use
from tests.runner.waiting import until


@pytest.fixture(scope="module", autouse=True)
def sdk():
    preload()


@pytest.fixture
async def rig(tmp_path):
    async with rig_in(tmp_path) as rig:
        yield rig
        assert rig.processes() == set()


def texts(body):
    """What the user said, as the model was given it."""
    found = []
    for message in body["messages"]:
        content = message["content"]
        found += [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return "\n".join(found)


async def test_a_message_is_taken_up_by_the_agent_at_work(rig):
    inbox, settled = Inbox(), []
    rig.upstream.play([use("Bash", command="touch started; until [ -e go ]; do sleep 0.05; done")], [say("Both done.")])
    working = asyncio.ensure_future(rig.run(rig.job(inbox=inbox)))
    await until((rig.tree / "started").exists)
    inbox.post(Mail(text="Mind the accents, too.", settled=settled.append))
    await until(lambda: settled)
    (rig.tree / "go").touch()
    result = await working
    assert result.ok, result
    assert settled == [True]
    assert "Mind the accents, too." in texts(rig.upstream.heard[-1].body)


async def test_a_message_that_comes_with_the_last_word_gets_a_turn_of_its_own(rig):
    """It must not be lost because the agent thought that it was done."""
    inbox, settled = Inbox(), []

    def answer(body):
        if "One more thing" in texts(body):
            return [say("That too.")]
        inbox.post(Mail(text="One more thing.", settled=settled.append))
        return [say("Done.")]

    rig.upstream.answer = answer
    result = await rig.run(rig.job(inbox=inbox))
    assert settled == [True]
    assert result.summary == "That too."


async def test_an_interrupting_message_breaks_off_what_is_done_and_the_agent_goes_on(rig):
    inbox, settled = Inbox(), []

    def answer(body):
        if "Stop waiting" in texts(body):
            return [say("As you wish.")]
        return [use("Bash", command="touch started; python3 -c 'import time; time.sleep(60)'")]

    rig.upstream.answer = answer
    working = asyncio.ensure_future(rig.run(rig.job(inbox=inbox)))
    await until((rig.tree / "started").exists)
    inbox.post(Mail(text="Stop waiting and answer.", interrupt=True, settled=settled.append))
    result = await asyncio.wait_for(working, 30)
    assert (result.failure, result.summary) == (None, "As you wish.")
    assert settled == [True]


async def test_a_message_after_the_end_is_said_to_be_undelivered(rig):
    inbox, settled = Inbox(), []
    await rig.run(rig.job(inbox=inbox))
    inbox.post(Mail(text="Too late.", settled=settled.append))
    assert settled == [False]


async def test_the_agent_asks_and_is_answered(rig):
    asked = []

    async def ask(question):
        asked.append(question)
        return ["blue"]

    rig.upstream.play(
        [use("mcp__people__ask", question="Which colour?", options=["red", "blue"])], [say("Blue it is.")]
    )
    result = await rig.run(rig.job(ask=ask))
    assert result.ok, result
    assert asked == [Question(text="Which colour?", kind=QuestionKind.ONE, options=("red", "blue"))]
    assert rig.output() == "blue"
    tools = [tool["name"] for tool in rig.upstream.heard[0].body["tools"]]
    assert "mcp__people__ask" in tools


async def test_an_agent_that_nobody_answers_is_told_to_decide(rig):
    async def ask(_question):
        return None

    rig.upstream.play([use("mcp__people__ask", question="Which colour?")], [say("Mine.")])
    result = await rig.run(rig.job(ask=ask))
    assert result.ok, result
    assert "Decide yourself" in rig.output()


async def test_waiting_for_an_answer_is_not_idleness(rig):
    from infra.core.run import Limits

    async def ask(_question):
        await asyncio.sleep(7)
        return ["now"]

    rig.upstream.play([use("mcp__people__ask", question="When?")], [say("Now.")])
    limits = Limits(budget_micros=10**7, wall_seconds=60, idle_seconds=6, max_turns=20)
    result = await rig.run(rig.job(ask=ask, limits=limits))
    assert result.ok, result


async def test_without_people_there_is_no_tool_to_ask_them(rig):
    await rig.run()
    assert not [tool for tool in rig.upstream.heard[0].body["tools"] if "people" in tool["name"]]
    assert rig.told(EventType.ERROR) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"question": " "},
        {"question": "x" * 4001},
        {"question": "?", "options": ["a", "a"]},
        {"question": "?", "options": "ab"},
    ],
)
def test_a_question_that_makes_no_sense_is_sent_back(arguments):
    assert isinstance(question_of(arguments), str)


def test_kinds_of_questions():
    assert question_of({"question": "Why?"}) == Question(text="Why?")
    several = question_of({"question": "Which?", "options": ["a", "b"], "several": True})
    assert several == Question(text="Which?", kind=QuestionKind.SEVERAL, options=("a", "b"))
