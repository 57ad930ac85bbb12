"""What a request to the model asks, reduced to what two runs of the same task have in common. Pure.

Two runs of one task differ in ids, dates, durations and paths, and the program between differs in its version; what is
compared is what was said: the conversation's turns, with those stood in for by names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from infra.core.price import canonical_model

_MOST_NEWS = 4_000
_REMEMBERED = 4_096

IGNORED = (
    "ids, hashes and memory addresses",
    "the order in which tools that ran at the same time ended",
    "dates, times and durations",
    "the folders of the run, local ports and process numbers",
    "the system prompt, what the program adds as system messages, and the descriptions of tools",
    "thinking, cache marks, limits and metadata of a request",
)
"""What may differ between two requests that count as the same, for people."""

_STAND_INS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"sk-run-[A-Za-z0-9_-]+"), "<key>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]{0,63}[0-9])(?=[0-9a-f]{0,63}[a-f])[0-9a-f]{7,64}\b"), "<id>"),
    (
        re.compile(
            r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"
            r"|\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? )?"
            r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6} {1,2}\d{1,2}"
            r"(?:,? \d\d:\d\d(?::\d\d)?)?(?:,? \d{4})?(?: [+-]\d{4})?\b"
            r"|\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"
        ),
        "<date>",
    ),
    (re.compile(r"\b\d+(?:\.\d+)?\s?(?:ns|µs|us|ms|s|secs?|seconds?|minutes?)\b"), "<duration>"),
    (re.compile(r"\b(127\.0\.0\.1|localhost):\d{2,5}\b"), r"\1:<port>"),
    (re.compile(r"\b(pid|process)([ =:]+)\d+", re.IGNORECASE), r"\1\2<pid>"),
)


def asked_places(places: Mapping[str, str]) -> dict[str, str]:
    """For ``Reader``: folders by name, the other way round."""
    return {path: f"<{name}>" for name, path in places.items()}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """``conversation``: digest of its first message; ``depth``: how many turns it has; ``fingerprint``: digest of all of them. ``news``:
    what was said since the model's last answer, readable and shortened."""

    path: str
    model: str
    streamed: bool
    conversation: str
    depth: int
    fingerprint: str
    news: tuple[str, ...]


class _Request(msgspec.Struct, frozen=True):
    model: str = ""
    stream: bool = False
    messages: list[msgspec.Raw] = []


@dataclass(frozen=True, slots=True)
class _Said:
    """One message, or all that were said in a row by one side. ``parts``: what orders them, and their text."""

    role: str
    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Tools that ran at the same time end in any order: their results are put into that of their calls' ids, which come from
        the model."""
        return "\n".join(text for _, text in sorted(self.parts, key=lambda part: part[0]))


def _turns(messages: Iterable[_Said]) -> Iterator[_Said]:
    for role, said in groupby(messages, key=lambda message: message.role):
        yield _Said(role, tuple(part for message in said for part in message.parts))


def _order(block: Any) -> str:
    is_result = isinstance(block, dict) and block.get("type") == "tool_result"
    return f"1{block.get('tool_use_id')}" if is_result else "2"


def _fingerprint(turns: Iterable[_Said]) -> str:
    whole = hashlib.sha256()
    for turn in turns:
        whole.update(hashlib.sha256(f"{turn.role}\0{turn.text}".encode("utf-8", "surrogatepass")).digest())
    return whole.hexdigest()


class Reader:
    """``places``: the run's folders and the names that stand for them, such as ``{"/tmp/x/tree": "<tree>"}``.

    Remembers what it has read: a conversation's next request repeats all of it.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = sorted(places.items(), key=lambda place: -len(place[0]))
        self._read: dict[bytes, _Said] = {}

    def read(self, path: str, body: bytes) -> Asked:
        """``body``: a request of the Messages API that the broker let pass."""
        request = msgspec.json.decode(body, type=_Request)
        turns = list(_turns(message for message in map(self._message, request.messages) if message.role != "system"))
        since = max((at + 1 for at, turn in enumerate(turns) if turn.role == "assistant"), default=0)
        return Asked(
            path=path,
            model=canonical_model(request.model),
            streamed=request.stream,
            conversation=_fingerprint(turns[:1]),
            depth=len(turns),
            fingerprint=_fingerprint(turns),
            news=tuple(turn.text[:_MOST_NEWS] for turn in turns[since:]),
        )

    def _message(self, raw: msgspec.Raw) -> _Said:
        key = hashlib.sha256(raw).digest()
        known = self._read.get(key)
        if known is None:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            known = self._read[key] = self._reduced(json.loads(bytes(raw)))
        return known

    def _reduced(self, message: Any) -> _Said:
        if not isinstance(message, dict):
            message = {"role": "?", "content": message}
        role, content = str(message.get("role")), message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        parts = ((_order(block), self._block(block)) for block in blocks)
        return _Said(role, tuple((order, text) for order, text in parts if text))

    def _block(self, block: Any) -> str:
        match block:
            case {"type": "text", "text": text}:
                return self.common(str(text))
            case {"type": "tool_use", "name": name, "input": arguments}:
                return f"{name} {self.common(json.dumps(arguments, sort_keys=True, ensure_ascii=False))}"
            case {"type": "tool_result"}:
                return self._result(block)
            case {"type": "thinking" | "redacted_thinking"}:
                return ""
            case {"type": kind, "source": source}:
                return f"{kind} {hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()}"
            case _:
                return self.common(json.dumps(block, sort_keys=True, ensure_ascii=False))

    def _result(self, block: Mapping[str, Any]) -> str:
        content = block.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        failed = " (failed)" if block.get("is_error") else ""
        return "\n".join([f"result{failed}:", *map(self._block, parts)])

    def common(self, text: str) -> str:
        """``text`` with names for what differs from run to run."""
        for place, name in self._places:
            text = text.replace(place, name)
        for pattern, stand_in in _STAND_INS:
            text = pattern.sub(stand_in, text)
        return text
