"""The redactor: every byte that leaves the runner passes it. Pure, streaming, standard library only.

*What it finds.* First the values it was told (``register``), in the fifteen encodings of ``infra.core.encodings.ENCODINGS`` and in any
piece of 12 or more letters and digits; then what looks like a secret (``infra.core.redaction_rules``). All finds are
marked on the original text at once, overlaps and neighbours merged, so a short secret inside a long one leaves no tail. What no masking can promise
is listed in ``infra.core.encodings.NOT_COVERED``.

*Where it belongs.* On decoded text, one stream per logical stream: the joined text deltas of one message, the output of one
command. Bytes of JSON that cut a secret into two deltas hide it from every redactor.

*Terminal control sequences* are invisible to the search (a coloured secret is found) and stay in the text outside of marks. They may
hide more than colour: pass output of commands through ``infra.core.terminal`` first.

*Streaming.* ``feed`` returns what no later text can change and holds back the rest: usually a few characters, at most
``MOST_HELD``. However a text is cut into pieces, the output is the same to the byte.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from typing import Any

from infra.core.encodings import NOT_COVERED, SHORTEST_VALUE
from infra.core.errors import Invalid
from infra.core.redaction_data import Walk
from infra.core.redaction_patterns import Patterns, Rule
from infra.core.redaction_rules import RULES
from infra.core.redaction_values import BARRIER, MARK, SEQUENCE, RunState, Span, Values

__all__ = ["MARK", "MOST_HELD", "NOT_COVERED", "RedactedStream", "Redactor"]

MOST_HELD = 64 * 1024
"""Bytes that a stream ever holds back. The longest open decision (a password in a URL) needs far less."""

_SLICE = 64 * 1024
_MARK = MARK.encode()
_MARK_BEGINNINGS = tuple(_MARK[:length] for length in range(len(_MARK) - 1, 0, -1))
_OPEN_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,4})?\Z")
_LONGEST_SEQUENCE = 40


@cache
def _patterns() -> Patterns:
    return Patterns(RULES)


class Redactor:
    """One per run: what is secret in it. Streams made from it share its index."""

    def __init__(self, values: Iterable[str] = (), *, patterns: bool = True) -> None:
        self._values = Values()
        self._patterns = _patterns() if patterns else None
        for value in values:
            self.register(value)

    def __repr__(self) -> str:
        return "Redactor(…)"

    def register(self, value: str) -> None:
        """Masks ``value`` from now on, also in what streams still hold back.

        Raises ``Invalid`` for fewer than 6 characters (surrounding blanks not counted): such a value occurs in ordinary text by chance,
        and masking it would tell more than it hides. Give the secret itself rather than a document around it: of a
        whole service-account file, ordinary host names would be masked too.
        """
        trimmed = value.strip()
        if len(trimmed) < SHORTEST_VALUE:
            raise Invalid(
                f"A secret of {len(trimmed)} characters cannot be masked.",
                code="secret_too_short",
                hint=f"Use a secret of at least {SHORTEST_VALUE} characters; 20 random ones are better.",
            )
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise Invalid("The secret is not valid Unicode text.", code="secret_not_text", hint="Store it as UTF-8.")
        self._values.add(value)
        self._values.add(trimmed)

    def without_patterns(self) -> Redactor:
        """The same registered values, also those that are registered later on either side, and nothing else."""
        twin = Redactor(patterns=False)
        twin._values = self._values
        return twin

    def stream(self) -> RedactedStream:
        return RedactedStream(self._values, self._patterns)

    def text(self, text: str) -> str:
        """A complete text."""
        if len(text) < SHORTEST_VALUE:
            return text  # neither a value nor a pattern is so short
        stream = self.stream()
        return stream.feed(text) + stream.flush()

    def data(self, value: Any) -> Any:
        """A masked copy of JSON-like data: texts, keys, and every text under a name that announces a secret.

        Beyond 64 levels or 100 000 items a mark stands for the rest. Numbers that spell a secret become marks;
        what is not JSON becomes its masked ``str``.
        """
        return Walk(self.text, names=self._patterns is not None).masked(value)


@dataclass(slots=True)
class _View:
    """The text without control sequences, after one byte of what went before. ``at`` maps its places back (None: shifted by 1)."""

    text: bytes
    at: Sequence[int] | None

    def place(self, index: int, size: int) -> int:
        if self.at is None:
            return index - 1
        return self.at[index] if index < len(self.at) else size

    def index(self, place: int) -> int:
        return place + 1 if self.at is None else max(1, bisect_left(self.at, place))

    def span(self, span: Span) -> Span:
        low = max(span[0], 1)
        return self.place(low, 0), self.place(max(span[1], low + 1) - 1, 0) + 1


@dataclass(slots=True)
class RedactedStream:
    """Text goes in by ``feed``, what is safe to show comes out; ``flush`` ends it. Made by ``Redactor.stream``.

    Offsets count in ``_buffer``: before ``_done`` all is out; up to ``_masked_to`` all is covered by a mark that is out;
    ``_ahead`` are finds after ``_done`` that may not be found again once their keyword is out;
    ``_literal`` are those finds that are control sequences themselves, in part or whole.
    """

    _values: Values
    _patterns: Patterns | None
    _buffer: bytes = b""
    _done: int = 0
    _masked_to: int = -1
    _raw: RunState = field(default_factory=RunState)
    _bare: RunState = field(default_factory=RunState)
    _running: tuple[Rule, ...] = ()
    _resume: int = 0
    _ahead: list[Span] = field(default_factory=list)
    _literal: list[Span] = field(default_factory=list)
    _before: bytes = b"\n"

    @property
    def held(self) -> int:
        """Bytes that wait for a decision."""
        return len(self._buffer) - self._done

    def feed(self, text: str) -> str:
        """What may be shown now."""
        out = []
        for start in range(0, len(text), _SLICE):
            self._buffer += text[start : start + _SLICE].encode("utf-8", "surrogatepass")
            out.append(self._advance(final=False))
        return "".join(out)

    def flush(self) -> str:
        """Treats what came as the end of the text, and starts afresh."""
        rest = self._advance(final=True)
        self._buffer, self._done, self._masked_to = b"", 0, -1
        self._raw = self._bare = RunState()
        self._running, self._resume, self._before = (), 0, b"\n"
        self._ahead, self._literal = [], []
        return rest

    def _advance(self, *, final: bool) -> str:
        known = len(self._buffer) if final else _unambiguous(self._buffer)
        data = self._buffer[:known].replace(_MARK, BARRIER)
        sequences = [match.span() for match in SEQUENCE.finditer(data)] if b"\x1b[" in data else []
        view = _view(self._before, data, sequences)
        literal, hold = self._search_literally(data, sequences, final=final)
        literal = sorted({*self._literal, *literal})
        seen, holds = self._search(data, view, sequences, final=final)
        undecided = known if final else _outside(min(hold, *holds), sequences)
        spans = [(_outside(low, sequences), _outside(high, sequences, after=True)) for low, high in literal + seen]
        spans = sorted({*self._ahead, *spans})
        shown = _apart(sequences, literal)
        text = self._release(spans, shown, max(self._done, undecided))
        self._ahead = [span for span in spans if span[0] >= self._done]
        self._literal = [span for span in literal if span[1] > self._done]
        self._forget(undecided, view, sequences)
        return text

    def _search_literally(self, data: bytes, sequences: Sequence[Span], *, final: bool) -> tuple[list[Span], int]:
        """Registered values in the bytes as they are, where control sequences are text like any other."""
        if not sequences and (self._raw is self._bare or self._raw == self._bare):
            self._raw = self._bare
            return [], len(data)  # the search that follows is the same
        if self._raw is self._bare:
            self._raw = replace(self._bare)
        spans, hold = self._values.runs(data, self._raw, final=final)
        more, other = self._values.exact(data, final=final)
        return spans + more, min(hold, other)

    def _search(
        self, data: bytes, view: _View, sequences: Sequence[Span], *, final: bool
    ) -> tuple[list[Span], list[int]]:
        """Everything to mask where control sequences are invisible, and from where on each search needs more text."""
        spans, hold = self._values.runs(_blanked(data, sequences), self._bare, final=final)
        found, other = self._values.exact(view.text[1:], final=final)
        seen = [(low + 1, high + 1) for low, high in found]
        holds = [hold, view.place(other + 1, len(data))]
        if self._patterns is not None:
            start, resume = view.index(self._done), view.index(self._resume)
            more, hold, self._running = self._patterns.scan(view.text, start, self._running, resume, final=final)
            seen += more
            holds.append(view.place(hold, len(data)))
        self._resume = len(data)
        return spans + [view.span(span) for span in seen if span[0] < span[1] > 1], holds

    def _release(self, spans: Iterable[Span], shown: Sequence[Span], ready: int) -> str:
        """Text between the spans, a mark for each of them, and the control sequences within: colours end where they would."""
        out: list[bytes] = []
        at = self._done
        for low, high in spans:
            self._masked_to = _over(shown, self._masked_to)
            if low <= self._masked_to:  # goes on with, or touches, what a mark stands for already
                self._masked_to = max(self._masked_to, high)
            elif low < ready:
                out += [self._copy(at, low, shown), _MARK]
                at, self._masked_to = low, high
        self._masked_to = _over(shown, self._masked_to)
        out.append(self._copy(at, ready, shown))
        self._done = ready
        return b"".join(out).decode("utf-8", "surrogatepass")

    def _copy(self, low: int, high: int, shown: Sequence[Span]) -> bytes:
        within = shown[bisect_left(shown, (low, 0)) : bisect_left(shown, (min(high, self._masked_to), 0))]
        return (
            b"".join(self._buffer[start:end] for start, end in within) + self._buffer[max(low, self._masked_to) : high]
        )

    def _forget(self, undecided: int, view: _View, sequences: Sequence[Span]) -> None:
        """Drops what is out, except the masked characters that a find still to come may begin with."""
        opened = [state.open_at for state in (self._raw, self._bare) if state.open_at >= 0]
        count = _outside(min([self._done, undecided, *opened]), sequences)
        before = view.index(count) - 1
        self._before = view.text[before : before + 1]
        self._buffer = self._buffer[count:]
        self._ahead = [(low - count, high - count) for low, high in self._ahead]
        self._literal = [(low - count, high - count) for low, high in self._literal]
        self._done -= count
        self._masked_to -= count
        self._resume -= count
        self._bare.shift(count)
        if self._raw is not self._bare:
            self._raw.shift(count)


def _unambiguous(buffer: bytes) -> int:
    """Up to where the text is free of a mark or a control sequence that has only begun."""
    end = len(buffer)
    if buffer.endswith(_MARK_BEGINNINGS):
        end -= next(len(beginning) for beginning in _MARK_BEGINNINGS if buffer.endswith(beginning))
    escape = buffer.rfind(b"\x1b", max(0, end - _LONGEST_SEQUENCE), end)
    return escape if escape >= 0 and _OPEN_SEQUENCE.fullmatch(buffer, escape, end) else end


def _view(before: bytes, data: bytes, sequences: Sequence[Span]) -> _View:
    if not sequences:
        return _View(before + data, None)
    edges = [0, *(edge for sequence in sequences for edge in sequence), len(data)]
    kept = [range(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True)]
    return _View(before + b"".join(data[part.start : part.stop] for part in kept), [-1, *chain.from_iterable(kept)])


def _blanked(data: bytes, sequences: Sequence[Span]) -> bytes:
    return SEQUENCE.sub(lambda match: b" " * len(match.group()), data) if sequences else data


def _apart(sequences: Sequence[Span], literal: Sequence[Span]) -> list[Span]:
    """The control sequences that no find reaches into. Both arguments are in order."""
    shown, finds, reach = [], iter(literal), -1
    find = next(finds, None)
    for low, high in sequences:
        while find is not None and find[0] < high:
            reach = max(reach, find[1])
            find = next(finds, None)
        if reach <= low:
            shown.append((low, high))
    return shown


def _over(shown: Sequence[Span], place: int) -> int:
    """``place``, moved behind the control sequences that stand there."""
    index = bisect_left(shown, (place, 0))
    while index < len(shown) and shown[index][0] == place:
        place = shown[index][1]
        index += 1
    return place


def _outside(place: int, sequences: Sequence[Span], *, after: bool = False) -> int:
    """``place``, moved to the beginning (or end) of the control sequence that it would cut."""
    if not sequences:
        return place
    low, high = sequences[max(0, bisect_left(sequences, (place, 0)) - 1)]
    return (high if after else low) if low < place < high else place
