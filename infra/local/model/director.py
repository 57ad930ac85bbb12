"""Which answer comes next: a pure function of the conversation, so a repeated request gets the same answer.

The latest user text that some script fits decides the script; the turn is the number of assistant messages after it. That
survives retries, resumed sessions, sub-agents (their own conversation) and texts the CLI adds by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.local.model.answer import Answer, Block, Text, ToolUse
from infra.local.model.conversation import Conversation, Message, ToolResult
from infra.local.model.library import Library
from infra.local.model.script import AnyFault, Capture, Expect, Script, ToolCall, Turn
from infra.local.model.template import fill

NOTICE = "[scripted rehearsal model] "
_NO_SCRIPT = (
    NOTICE
    + "No script fits this request, so nothing was changed. This is a rehearsal: the answers come from script files, "
    "no model has read the request. With a real model (set ANTHROPIC_API_KEY and start again) it would now read the "
    "repository, make the change and run the tests, with the same tools and through the same steps around it."
)
_OVER = NOTICE + "The script is over; there is nothing more to say."
_STOPPED = NOTICE + "The script stops here, because something is not as it expects: {reason}"
_EXCERPT = 400
_MOST_DELTAS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """``script`` is empty when none fits; ``turn`` counts from 0; ``stopped`` is the reason of an unmet expectation."""

    answer: Answer
    script: str = ""
    turn: int = 0
    stopped: str = ""
    fault: AnyFault | None = None


class _Unmet(Exception):
    """An expectation does not hold; the text says which."""


def perform(library: Library, conversation: Conversation) -> Performance:
    found = _locate(library, conversation.messages)
    if found is None:
        return Performance(answer=_says(_NO_SCRIPT))
    name, script, start = found
    prompt, rest = conversation.messages[start].text, conversation.messages[start + 1 :]
    stages = script.stages
    batches = _batches(rest, stages)
    turn = len(batches)
    try:
        variables = _replay(stages[: turn + 1], prompt, batches, conversation.variables)
        if turn >= len(stages):
            return Performance(answer=_says(_OVER), script=name, turn=turn)
        answer = _answer(stages[turn], variables, opening=turn == 0)
    except _Unmet as unmet:
        stopped = _says(_STOPPED.format(reason=unmet))
        return Performance(answer=stopped, script=name, turn=turn, stopped=str(unmet))
    return Performance(answer=answer, script=name, turn=turn, fault=stages[turn].fault)


def _locate(library: Library, messages: Sequence[Message]) -> tuple[str, Script, int] | None:
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        chosen = library.choose(message.text) if message.role == "user" and message.text else None
        if chosen:
            return (*chosen, at)
    return None


def _batches(messages: Sequence[Message], stages: Sequence[Turn]) -> list[list[ToolResult]]:
    """The tool results that follow each assistant message, in the order of its calls.

    An answer that should have called a tool and did not was broken off, by an interruption or with its machine: it is given again.
    """
    batches: list[list[ToolResult]] = []
    for at, message in enumerate(messages):
        if message.role != "assistant":
            continue
        broken_off = len(batches) < len(stages) and stages[len(batches)].tools and not message.calls
        if not broken_off:
            batches.append(_results_after(messages, at))
    return batches


def _results_after(messages: Sequence[Message], at: int) -> list[ToolResult]:
    found: dict[str, ToolResult] = {}
    for message in messages[at + 1 :]:
        if message.role == "assistant":
            break
        found |= {result.call_id: result for result in message.results}
    return [found[call] for call in messages[at].calls if call in found]


def _replay(
    stages: Sequence[Turn], prompt: str, batches: Sequence[list[ToolResult]], given: Mapping[str, str]
) -> dict[str, str]:
    """All variables as the turns up to now found them; raises ``_Unmet`` at the first turn that does not hold."""
    variables = dict(given)
    for number, stage in enumerate(stages):
        results = batches[number - 1] if number else []
        for capture in stage.capture:
            variables |= _capture(capture, prompt if capture.source == "prompt" else _text(results, capture.call))
        for expect in stage.expect:
            _check(expect, results)
    return variables


def _capture(capture: Capture, text: str) -> dict[str, str]:
    found = re.search(capture.pattern, text)
    if found is None:
        raise _Unmet(_reason(capture.otherwise, f"nothing fits {capture.pattern!r}", text))
    return {name: value or "" for name, value in found.groupdict().items()}


def _check(expect: Expect, results: Sequence[ToolResult]) -> None:
    text = _text(results, expect.call)
    chosen = [results[expect.call]] if expect.call is not None and expect.call < len(results) else results
    problems = (
        (expect.contains not in text, f"the tool result should contain {expect.contains!r}"),
        (bool(expect.lacks) and expect.lacks in text, f"the tool result should not contain {expect.lacks!r}"),
        (re.search(expect.matches, text) is None, f"the tool result should match {expect.matches!r}"),
        (
            expect.failed is not None and any(result.failed for result in chosen) != expect.failed,
            f"the tool call should have {'failed' if expect.failed else 'succeeded'}",
        ),
        (not chosen, "there should be a tool result"),
    )
    for wrong, sentence in problems:
        if wrong:
            raise _Unmet(_reason(expect.otherwise, sentence, text))


def _text(results: Sequence[ToolResult], call: int | None) -> str:
    if call is None:
        return "\n".join(result.text for result in results)
    return results[call].text if call < len(results) else ""


def _reason(otherwise: str, sentence: str, text: str) -> str:
    excerpt = text.strip()[:_EXCERPT] or "(nothing)"
    return f"{otherwise or sentence + '.'}\n\nWhat it saw instead:\n{excerpt}"


def _answer(turn: Turn, variables: Mapping[str, str], *, opening: bool) -> Answer:
    try:
        pieces = tuple(fill(piece, variables) for piece in turn.pieces if piece)
        tools = tuple(_tool(call, variables) for call in turn.tools)
    except KeyError as missing:
        raise _Unmet(
            f"the value of ${{{missing.args[0]}}} is not known; send X-Script-Var-{missing.args[0]}."
        ) from None
    pieces = (NOTICE, *pieces) if opening else pieces
    said: tuple[Block, ...] = (Text(pieces=_deltas(pieces, turn)),) if pieces else ()
    stop_reason = turn.stop_reason or ("tool_use" if tools else "end_turn")
    return Answer(blocks=(*said, *tools), stop_reason=stop_reason, usage=turn.usage)


def _deltas(pieces: tuple[str, ...], turn: Turn) -> tuple[str, ...]:
    """A list of texts is cut exactly as written; one text is cut like a model's, a few words at a time."""
    if not isinstance(turn.text, str):
        return pieces
    return tuple(part for piece in pieces for part in split(piece, 24))


def _tool(call: ToolCall, variables: Mapping[str, str]) -> ToolUse:
    if call.deltas is not None:
        return ToolUse(name=call.name, deltas=tuple(fill(call.deltas, variables)))
    text = json.dumps(fill(call.input or {}, variables), ensure_ascii=False)
    return ToolUse(name=call.name, deltas=split(text, 40))


def _says(text: str) -> Answer:
    return Answer(blocks=(Text(pieces=split(text, 24)),), stop_reason="end_turn")


def split(text: str, size: int) -> tuple[str, ...]:
    """Pieces of ``size`` characters; longer ones when there would be too many for a demonstration to wait for."""
    size = max(size, -(-len(text) // _MOST_DELTAS))
    return tuple(text[at : at + size] for at in range(0, len(text), size))
