"""Claude Code's messages as the platform's events and results. Pure; kinds that are not known are skipped, so that a newer
CLI does not break this reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    RateLimitEvent,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from infra.core.run import Usage
from infra.core.timeline import EventType
from runner.agents.port import Failure, Result

Said = tuple[EventType, dict[str, Any]]

_MAX_TEXT = 16_000
_MAX_ARGUMENT = 4_000
_MAX_ARGUMENTS = 40
_MAX_DEPTH = 6
_MAX_SUMMARY = 160

BUDGET_HINT = "Give the run a larger budget, or split the task."


def bounded(text: str, limit: int = _MAX_TEXT) -> str:
    """The beginning and the end of a text that is too long; the middle says how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def bounded_arguments(value: Any, depth: int = 0) -> Any:
    """A tool's arguments with long texts shortened and deep or wide parts left out."""
    if isinstance(value, str):
        return bounded(value, _MAX_ARGUMENT)
    if isinstance(value, dict | list) and depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        kept = list(value.items())[:_MAX_ARGUMENTS]
        return {str(name)[:200]: bounded_arguments(part, depth + 1) for name, part in kept}
    if isinstance(value, list):
        return [bounded_arguments(part, depth + 1) for part in value[:_MAX_ARGUMENTS]]
    return value


def tool_summary(name: str, arguments: Mapping[str, Any], tree: str) -> str:
    """One line for people: what the tool does, with paths as seen from the repository."""
    for key in ("command", "file_path", "notebook_path", "path", "pattern", "description", "skill", "query", "url"):
        value = arguments.get(key)
        if isinstance(value, str) and value.strip():
            line = value.strip().splitlines()[0].replace(f"{tree}/", "")
            return f"{name}: {line}"[:_MAX_SUMMARY]
    return name


def tool_use(identity: str, name: str, arguments: Mapping[str, Any], tree: str) -> Said:
    return EventType.TOOL_USE, {
        "id": identity,
        "name": name,
        "input": bounded_arguments(dict(arguments)),
        "summary": tool_summary(name, arguments, tree),
    }


def usage_event(usage: Usage) -> Said:
    return EventType.USAGE, {
        "turns": usage.turns,
        "input_tokens": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "cost_micros": usage.cost_micros,
    }


def events_of(message: Message, tree: str) -> Iterator[Said]:
    match message:
        case AssistantMessage():
            yield from _spoken(message, tree)
        case UserMessage(content=list(blocks)):
            yield from (_tool_result(block) for block in blocks if isinstance(block, ToolResultBlock))
        case SystemMessage(subtype="api_retry", data=data):
            status, attempt, of = data.get("error_status"), data.get("attempt"), data.get("max_retries")
            text = f"The model did not answer ({status or data.get('error')}); trying again, {attempt} of {of}."
            yield EventType.INFO, {"message": text, "code": "model_retry"}
        case SystemMessage(subtype="model_fallback", data=data):
            text = f"Going on with {data.get('fallback_model')} instead of {data.get('original_model')}."
            yield EventType.INFO, {"message": text, "code": "model_fallback"}
        case RateLimitEvent(rate_limit_info=info):
            text = f"The model's rate limit: {info.status}, {info.rate_limit_type}."
            yield EventType.INFO, {"message": text, "code": "model_rate_limit"}


def arguments_of(message: Message) -> dict[str, dict[str, Any]]:
    """Tool call → its arguments, whole."""
    if not isinstance(message, AssistantMessage):
        return {}
    return {block.id: block.input or {} for block in message.content if isinstance(block, ToolUseBlock)}


def _spoken(message: AssistantMessage, tree: str) -> Iterator[Said]:
    for block in message.content:
        if isinstance(block, TextBlock) and message.error is not None:
            yield EventType.ERROR, {"message": bounded(block.text), "code": str(message.error)}
        elif isinstance(block, TextBlock):
            yield EventType.MESSAGE, {"text": bounded(block.text)}
        elif isinstance(block, ToolUseBlock):
            yield tool_use(block.id, block.name, block.input, tree)


def _tool_result(block: ToolResultBlock) -> Said:
    content = block.content
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in content)
    return EventType.TOOL_RESULT, {
        "id": block.tool_use_id,
        "text": bounded(content or ""),
        "is_error": bool(block.is_error),
    }


def result_of(message: ResultMessage, *, exhausted: bool) -> Result:
    """``subtype`` is "success" for failures of the model too: ``is_error`` decides. ``exhausted``: the broker refused for
    lack of budget, which the CLI can only see as an error of the model."""
    failure = _failure(message, exhausted=exhausted)
    said = message.result or "; ".join(message.errors or ())
    words, hint = ("", "") if failure is None else _words(failure, said)
    return Result(
        summary=bounded(message.result or "") if failure is None else "",
        session_id=message.session_id,
        turns=message.num_turns,
        reported=_reported(message),
        failure=failure,
        message=words,
        hint=hint,
        model_status=message.api_error_status or 0,
    )


def _failure(message: ResultMessage, *, exhausted: bool) -> Failure | None:
    if not message.is_error and message.subtype == "success":
        return None
    if exhausted:
        return Failure.BUDGET
    if message.subtype == "error_max_turns":
        return Failure.MAX_TURNS
    if message.subtype == "error_max_budget_usd":
        return Failure.BUDGET
    if (message.terminal_reason or "").startswith("aborted"):
        return Failure.INTERRUPTED
    if message.api_error_status is not None or message.terminal_reason in {"api_error", "prompt_too_long"}:
        return Failure.MODEL
    return Failure.AGENT


def _words(failure: Failure, said: str) -> tuple[str, str]:
    """A sentence and a hint."""
    told = bounded(said.strip(), 2_000)
    match failure:
        case Failure.BUDGET:
            return "The budget of the run was used up before the agent was done.", BUDGET_HINT
        case Failure.MAX_TURNS:
            return "The agent reached the run's largest number of turns.", "Allow more turns, or split the task."
        case Failure.INTERRUPTED:
            return "The agent was interrupted.", ""
        case Failure.MODEL:
            return f"The model could not be used: {told}", "Check the model's key, name and limits, then run again."
        case _:
            return f"The agent ended with an error: {told or 'it gave no reason'}", "The last events say what it did."


def _reported(message: ResultMessage) -> Usage | None:
    """The CLI's own sum over all models; it counts on over resumed sessions."""
    if message.total_cost_usd is None:
        return None
    models: list[Mapping[str, Any]] = [dict(usage) for usage in (message.model_usage or {}).values()]

    def total(name: str) -> int:
        return sum(int(usage.get(name) or 0) for usage in models)

    return Usage(
        turns=message.num_turns,
        input_tokens=total("inputTokens"),
        output_tokens=total("outputTokens"),
        cache_read_tokens=total("cacheReadInputTokens"),
        cache_write_tokens=total("cacheCreationInputTokens"),
        cost_micros=round(message.total_cost_usd * 1_000_000),
        cost_basis="reported",
    )
