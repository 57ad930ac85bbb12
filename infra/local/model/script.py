"""The script language: what a scripted model says, turn by turn, and what it insists on having seen before.

A script is a TOML file. The fields below are its keys; unknown keys are errors. Text and tool inputs may use
``${name}`` for a value that an earlier ``capture`` found, for ``${cwd}``, or for a declared variable; ``$${`` is a plain ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from infra.local.model.template import names_in

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Count = Annotated[int, Meta(ge=0)]
Status = Annotated[int, Meta(ge=400, le=599)]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts: a key that is not known is an error, not a comment."""


class ToolCall(_Part, frozen=True, kw_only=True):
    """One tool call. ``input`` is the honest form; ``deltas`` instead gives the raw JSON text in exactly these pieces (it may
    be cut anywhere and need not be valid JSON)."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    input: dict[str, Any] | None = None
    deltas: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.input is not None and self.deltas is not None:
            raise ValueError("a tool call has either input or deltas, not both")


class Expect(_Part, frozen=True, kw_only=True):
    """What the previous turn's tool results must look like; otherwise the model says ``otherwise`` and stops.

    ``call`` is the index of the tool call in that turn; without it, all its results together are meant.
    """

    call: Count | None = None
    contains: str = ""
    lacks: str = ""
    matches: str = ""
    failed: bool | None = None
    otherwise: str = ""

    def __post_init__(self) -> None:
        if not (self.contains or self.lacks or self.matches or self.failed is not None):
            raise ValueError("an expectation needs contains, lacks, matches or failed")
        _pattern(self.matches)


class Capture(_Part, frozen=True, kw_only=True):
    """Values read from the prompt or from the previous turn's tool results: each named group becomes a variable.

    Nothing found is an unmet expectation (``otherwise`` is its sentence).
    """

    pattern: str
    source: Literal["prompt", "result"] = msgspec.field(default="result", name="from")
    call: Count | None = None
    otherwise: str = ""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a capture needs a named group, for instance (?P<file>.+)")

    @property
    def names(self) -> frozenset[str]:
        return frozenset(_pattern(self.pattern).groupindex)


class Fault(_Part, frozen=True, kw_only=True):
    """Base of faults. ``times``: how often per conversation and turn it happens before the turn is answered; 0 is always."""

    times: Count = 0


class HttpFault(Fault, frozen=True, kw_only=True, tag_field="kind", tag="http"):
    """An error answer instead of a message."""

    status: Status
    error_type: str = ""
    message: str = "scripted fault"
    headers: dict[str, str] = {}


class HangFault(Fault, frozen=True, kw_only=True, tag_field="kind", tag="hang"):
    """Silence: before the headers, or (``after``) when that many events of the stream were sent. Then it goes on."""

    seconds: Seconds
    after: Count | None = None


class CutFault(Fault, frozen=True, kw_only=True, tag_field="kind", tag="cut"):
    """The connection drops when ``after`` events were sent."""

    after: Count


class ErrorEventFault(Fault, frozen=True, kw_only=True, tag_field="kind", tag="error-event"):
    """``event: error`` in a stream that began with status 200, when ``after`` events were sent."""

    after: Count
    error_type: str = "overloaded_error"
    message: str = "scripted fault"


class SlowFault(Fault, frozen=True, kw_only=True, tag_field="kind", tag="slow"):
    """A pause before each event of the stream."""

    delay_ms: Annotated[float, Meta(ge=0, le=600_000)]


AnyFault = HttpFault | HangFault | CutFault | ErrorEventFault | SlowFault


class UsageOverride(_Part, frozen=True, kw_only=True):
    """Usage figures for tests of budgets; what is absent is estimated from the request."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None


ESTIMATED = UsageOverride()


class Turn(_Part, frozen=True, kw_only=True):
    """One answer: ``text`` (a list of texts fixes where its deltas are cut), then tool calls.

    ``expect`` and ``capture`` look at the results of the turn before; captures come first. ``repeat``: the same turn that often.
    """

    text: str | tuple[str, ...] = ""
    tools: tuple[ToolCall, ...] = ()
    expect: tuple[Expect, ...] = ()
    capture: tuple[Capture, ...] = ()
    fault: AnyFault | None = None
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "refusal", "pause_turn", ""] = ""
    usage: UsageOverride = ESTIMATED
    repeat: Annotated[int, Meta(ge=1, le=10_000)] = 1

    def __post_init__(self) -> None:
        if not (self.text or self.tools or self.fault):
            raise ValueError("a turn needs text, tools or a fault")

    @property
    def pieces(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else self.text


class Script(_Part, frozen=True, kw_only=True):
    """A whole script. It plays in conversations with a user text that holds ``match`` or fits ``match_regex``.

    ``fallback``: only for texts that no ordinary script fits. ``variables``: names that arrive as ``X-Script-Var-NAME`` headers.
    """

    about: str = ""
    match: str = ""
    match_regex: str = ""
    fallback: bool = False
    variables: tuple[str, ...] = ()
    turns: Annotated[tuple[Turn, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if bool(self.match) == bool(self.match_regex):
            raise ValueError("a script needs exactly one of match and match_regex")
        _pattern(self.match_regex)
        self._check_results()
        self._check_variables()

    def fits(self, text: str) -> bool:
        if self.match:
            return self.match in text
        return re.search(self.match_regex, text) is not None

    @property
    def stages(self) -> tuple[Turn, ...]:
        """The turns with ``repeat`` written out."""
        return tuple(turn for turn in self.turns for _ in range(turn.repeat))

    def _check_results(self) -> None:
        calls = 0
        for number, turn in enumerate(self.turns, start=1):
            wants_result = bool(turn.expect) or any(capture.source == "result" for capture in turn.capture)
            if wants_result and not calls:
                raise ValueError(f"turn {number} looks at tool results, but the turn before it calls no tool")
            looked_at = (*(part.call for part in turn.expect), *(part.call for part in turn.capture))
            for call in looked_at:
                if call is not None and call >= calls:
                    raise ValueError(f"turn {number} looks at call {call}, but the turn before it has {calls}")
            calls = len(turn.tools)

    def _check_variables(self) -> None:
        known = {"cwd", *self.variables}
        for number, turn in enumerate(self.turns, start=1):
            known |= {name for capture in turn.capture for name in capture.names}
            for name in sorted(_names(turn)):
                if name not in known:
                    raise ValueError(f"turn {number} uses ${{{name}}}, which nothing before it provides")
        for name in self.variables:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} cannot be a variable's name")


def _names(turn: Turn) -> set[str]:
    return {name for text in _texts((*turn.pieces, *turn.tools)) for name in names_in(text)}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case ToolCall():
            yield from _texts((value.input, value.deltas))
        case dict():
            yield from _texts((*value.keys(), *value.values()))
        case list() | tuple():
            for item in value:
                yield from _texts(item)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {text!r} ({error})") from error
