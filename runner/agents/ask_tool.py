"""The tool by which Claude asks people. It runs in the supervisor; the agent's box only sees its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.agents.port import Ask, Question, QuestionKind

if TYPE_CHECKING:
    from claude_agent_sdk import McpSdkServerConfig

SERVER, TOOL = "people", "ask"
TOOL_NAME = f"mcp__{SERVER}__{TOOL}"

MOST_CHARACTERS = 4_000
MOST_OPTIONS = 10

_DESCRIPTION = (
    "Ask the people who follow this run one question and wait for their answer. Use it only for a decision that the task "
    "leaves open and that you cannot take back; otherwise decide yourself and say so. With options the answer is one of "
    "them, or several when `several` is true; without options it is free text. If nobody answers you are told so."
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS},
        "options": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 200},
            "maxItems": MOST_OPTIONS,
            "uniqueItems": True,
        },
        "several": {"type": "boolean"},
    },
    "required": ["question"],
    "additionalProperties": False,
}
_NO_ANSWER = "Nobody answered in time. Decide yourself, choose what is easiest to undo, and say in your summary what you assumed."


def ask_server(ask: Ask) -> McpSdkServerConfig:
    from claude_agent_sdk import create_sdk_mcp_server, tool

    @tool(TOOL, _DESCRIPTION, _SCHEMA)
    async def ask_people(arguments: dict[str, Any]) -> dict[str, Any]:
        question = question_of(arguments)
        if isinstance(question, str):
            return {"content": [{"type": "text", "text": question}], "is_error": True}
        answers = await ask(question)
        text = _NO_ANSWER if answers is None else "\n".join(answers)
        return {"content": [{"type": "text", "text": text}]}

    return create_sdk_mcp_server(SERVER, tools=[ask_people])


def question_of(arguments: dict[str, Any]) -> Question | str:
    """The agent's words as a question, or what is wrong with them."""
    text, options, several = arguments.get("question"), arguments.get("options") or [], arguments.get("several", False)
    if not isinstance(text, str) or not text.strip() or len(text) > MOST_CHARACTERS:
        return f"The question must be a text of at most {MOST_CHARACTERS} characters."
    fits = isinstance(options, list) and all(isinstance(each, str) and each.strip() for each in options)
    if not fits or len(options) > MOST_OPTIONS or len(set(options)) != len(options):
        return f"The options must be at most {MOST_OPTIONS} different texts."
    if not options:
        return Question(text=text)
    kind = QuestionKind.SEVERAL if several is True else QuestionKind.ONE
    return Question(text=text, kind=kind, options=tuple(options))
