"""Changes the texts of a recorded answer, whatever pieces they came in. Pure.

A secret or a path may be cut into two deltas of a stream, so that no single one shows it: texts are put together first, then
changed, then cut again. An answer in which nothing changes keeps every byte and every border between its chunks.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from infra.core.redaction import Redactor

_BREAK = re.compile(rb"(?<=\n)\r?\n")
_TEXT_FIELDS = ("text", "thinking", "signature")


class Rewriter(Protocol):
    def pieces(self, pieces: Sequence[str]) -> list[str]:
        """As many pieces of the changed text as there were."""
        ...

    def value(self, value: Any) -> Any:
        """The same for JSON-like data."""
        ...


@dataclass(slots=True)
class Masking:
    """Masks secrets."""

    redactor: Redactor

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        stream = self.redactor.stream()
        shown = [stream.feed(piece) for piece in pieces]
        if shown:
            shown[-1] += stream.flush()
        # what the stream held back for a while only moved from one piece to the next
        return list(pieces) if "".join(shown) == "".join(pieces) else shown

    def value(self, value: Any) -> Any:
        return self.redactor.data(value)


@dataclass(slots=True)
class Moving:
    """Puts other paths in the place of recorded ones. ``moves``: from → to."""

    moves: Mapping[str, str]
    _pattern: re.Pattern[str] | None = field(init=False)

    def __post_init__(self) -> None:
        names = sorted((name for name in self.moves if name), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        whole = "".join(pieces)
        if self._pattern is None or not self._pattern.search(whole):
            return list(pieces)
        borders, at = [], 0
        for piece in pieces[:-1]:
            at += len(piece)
            borders.append(at)
        return self._cut(whole, borders)

    def _cut(self, whole: str, borders: list[int]) -> list[str]:
        """The changed text, cut where ``borders`` of the old text have come to lie; one inside a path moves behind it."""
        assert self._pattern is not None
        out, moved, shift = [], [], 0
        done = 0
        for match in self._pattern.finditer(whole):
            new = self.moves[match.group()]
            out += [whole[done : match.start()], new]
            while borders and borders[0] <= match.start():
                moved.append(borders.pop(0) + shift)
            shift += len(new) - len(match.group())
            while borders and borders[0] < match.end():
                borders.pop(0)
                moved.append(match.end() + shift)
            done = match.end()
        moved += [border + shift for border in borders]
        text = "".join([*out, whole[done:]])
        edges = [0, *moved, len(text)]
        return [text[low:high] for low, high in itertools.pairwise(edges)]

    def value(self, value: Any) -> Any:
        match value:
            case str():
                return self.pieces([value])[0]
            case dict():
                return {self.value(name): self.value(part) for name, part in value.items()}
            case list():
                return [self.value(part) for part in value]
            case _:
                return value


def rewritten(chunks: Sequence[bytes], rewriter: Rewriter, *, stream: bool) -> list[bytes]:
    """The answer with its texts changed: the same chunks when nothing changes, else one for each event."""
    body = b"".join(chunks)
    changed = _stream(body, rewriter) if stream else _document(body, rewriter)
    return list(chunks) if changed is None else changed


def _document(body: bytes, rewriter: Rewriter) -> list[bytes] | None:
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        changed = rewriter.pieces([text])[0]
        return None if changed == text else [changed.encode("utf-8", "replace")]
    after = rewriter.value(value)
    return None if after == value else [json.dumps(after).encode()]


@dataclass(slots=True)
class _Event:
    raw: bytes
    data: Any = None
    before: Any = None

    @property
    def delta(self) -> dict[str, Any] | None:
        """Of a piece of a content block."""
        is_piece = isinstance(self.data, dict) and self.data.get("type") == "content_block_delta"
        delta = self.data.get("delta") if is_piece else None
        return delta if isinstance(delta, dict) else None

    def encoded(self) -> bytes:
        if self.data == self.before:
            return self.raw
        return f"event: {self.data.get('type', 'message')}\ndata: {json.dumps(self.data)}\n\n".encode()


def _stream(body: bytes, rewriter: Rewriter) -> list[bytes] | None:
    events = [_parsed(raw) for raw in _split(body)]
    blocks: dict[tuple[Any, str], list[dict[str, Any]]] = {}
    for event in events:
        if not isinstance(event.data, dict):
            event.raw = rewriter.pieces([event.raw.decode("utf-8", "replace")])[0].encode("utf-8", "replace")
            continue
        if event.data.get("type") == "content_block_start":
            for name in (*_TEXT_FIELDS, "partial_json"):
                _change(blocks.pop((event.data.get("index"), name), []), name, rewriter)
        delta = event.delta
        if delta is not None and (name := _delta_field(delta)):
            blocks.setdefault((event.data.get("index"), name), []).append(delta)
        else:
            event.data = rewriter.value(event.data)
    for (_, name), deltas in blocks.items():
        _change(deltas, name, rewriter)
    after = [event.encoded() for event in events]
    return None if b"".join(after) == body else after


def _split(body: bytes) -> list[bytes]:
    edges = [0, *(match.end() for match in _BREAK.finditer(body)), len(body)]
    return [body[low:high] for low, high in itertools.pairwise(edges) if low < high]


def _parsed(raw: bytes) -> _Event:
    lines = [line.removeprefix(b"data:") for line in raw.splitlines() if line.startswith(b"data:")]
    try:
        text = b"\n".join(lines).decode()
        return _Event(raw, json.loads(text), json.loads(text))
    except (ValueError, RecursionError):
        return _Event(raw)


def _delta_field(delta: dict[str, Any]) -> str:
    return next((name for name in (*_TEXT_FIELDS, "partial_json") if isinstance(delta.get(name), str)), "")


def _change(deltas: list[dict[str, Any]], name: str, rewriter: Rewriter) -> None:
    pieces = [delta[name] for delta in deltas]
    after = _arguments(pieces, rewriter) if name == "partial_json" else rewriter.pieces(pieces)
    for delta, piece in zip(deltas, after, strict=True):
        delta[name] = piece


def _arguments(pieces: list[str], rewriter: Rewriter) -> list[str]:
    """A tool's arguments, which have to stay JSON."""
    try:
        value = json.loads("".join(pieces))
    except (ValueError, RecursionError):
        return rewriter.pieces(pieces)
    after = rewriter.value(value)
    return pieces if after == value else [""] * (len(pieces) - 1) + [json.dumps(after)]
