"""Registered values: an index over all their encodings, and the search for them in a stretch of bytes.

Two searches share the work.

*Runs.* Text and needles are folded alike: ASCII letters lowered, digits kept, all else dropped. Base64 of either alphabet,
wrapped or padded or not, hex with colons, shell and JSON backslashes, changed case and separators all fold to few needles, whose
6-grams form one set. A stretch in which every 6-gram is known and which is at least 12 long is a piece of a secret. Looking at
every 7th place only is enough to meet each such stretch (12 = 6 + 7 - 1), which is why this is fast in Python.

*Exact.* What folds to less than 12 letters and digits (short or symbol-rich values) is found character by character, by the
same trick with 4-grams over the bytes as they are.
"""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress, pairwise

from infra.core.encodings import ENCODINGS, SHORTEST_RUN, SHORTEST_VALUE

Span = tuple[int, int]

MARK = "[REDACTED]"
BARRIER = b"\xff" * len(MARK)
"""Stands for a mark that the text already holds: never UTF-8, so no needle or pattern reaches into or across one."""

NEAR = 32
"""Bytes. A piece of 6 to 11 letters and digits is masked too when it stands so close to a longer piece."""

GAP = 64
"""Bytes. More than this between two characters, and they no longer belong to one piece. Bounds what is held back."""

LONG_VALUE = 4_096
"""Characters. From here on only plain, base64, hex and JSON forms are indexed, to keep memory within about 60 bytes × forms."""

_GRAM, _STRIDE = 6, SHORTEST_RUN - 6 + 1
_HEAD, _PIECE = 4, 48
_UNDECIDED = SHORTEST_RUN + NEAR + 2 * _GRAM
"""Folded characters at the end of a text among which a short piece may still turn out to stand near a long one."""
_STRETCH = re.compile(b"\x01+")
_LONG_FORMS = frozenset({"plain", "base64", "hex", "json"})

_KEPT = bytes(byte for byte in range(256) if (byte < 128 and chr(byte).isalnum()) or byte == BARRIER[0])
_DROPPED = bytes(byte for byte in range(256) if byte not in _KEPT)
_LOWER = bytes(range(256)).lower()
_IS_KEPT = bytes(byte in _KEPT for byte in range(256))

SEQUENCE = re.compile(rb"\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]")
"""A complete terminal control sequence (ECMA-48 CSI, bounded). https://ecma-international.org/publications-and-standards/standards/ecma-48/"""


@dataclass(slots=True)
class RunState:
    """What the search for runs must remember of bytes that are gone. Offsets count from the start of the next bytes.

    ``open_at``: a masked run was still going on; its last characters were kept from here (-1: none). ``masked_from``,
    ``masked_to``: where the last masked run began (or before that) and ended.
    """

    open_at: int = -1
    masked_from: int = -1 << 62
    masked_to: int = -1 << 62

    def shift(self, count: int) -> None:
        self.masked_from -= count
        self.masked_to -= count
        if self.open_at >= 0:
            self.open_at -= count


@dataclass(slots=True)
class Values:
    """The index. Grows by ``add``; every search after that sees the new value."""

    _known: set[str] = field(default_factory=set)
    _grams: set[bytes] = field(default_factory=set)
    _starts: set[bytes] = field(default_factory=set)
    _exact: set[bytes] = field(default_factory=set)
    _heads: dict[bytes, list[tuple[bytes, int]]] = field(default_factory=dict)
    _prefixes: set[bytes] = field(default_factory=set)
    _stride: int = 1

    def add(self, value: str) -> None:
        if value in self._known:
            return
        self._known.add(value)
        pieces = set(self._exact)
        runs = set()
        for form in _forms(value):
            folded = _fold(form)
            if folded not in runs:  # more than half of the forms differ only in what folding takes away
                runs.add(folded)
                self._add_run(folded)
            if (
                len(folded) < SHORTEST_RUN
                or _loses_edge(value, SHORTEST_VALUE)
                or (form == value and _loses_edge(value, 1))
            ):
                pieces.update(_pieces_of(form))
        if pieces != self._exact:
            self._exact = pieces
            self._index_exact()

    def _add_run(self, folded: bytes) -> None:
        if len(folded) < SHORTEST_RUN:
            return
        self._grams.update(folded[i : i + _GRAM] for i in range(len(folded) - _GRAM + 1))
        for length in range(1, _GRAM):
            self._starts.update(folded[i : i + length] for i in range(len(folded) - length + 1))

    def _index_exact(self) -> None:
        self._stride = min(len(needle) for needle in self._exact) - _HEAD + 1
        self._heads = {}
        self._prefixes = set()
        for needle in sorted(self._exact):
            for offset in range(self._stride):
                self._heads.setdefault(needle[offset : offset + _HEAD], []).append((needle, offset))
            self._prefixes.update(needle[:length] for length in range(1, len(needle)))

    def exact(self, data: bytes, *, final: bool) -> tuple[list[Span], int]:
        """All whole occurrences of exact needles, and from where on one may be incomplete (``len(data)``: nowhere)."""
        if not self._exact:
            return [], len(data)
        spans = []
        for at in _sampled(data, self._heads.keys(), _HEAD, self._stride):
            for needle, offset in self._heads[data[at : at + _HEAD]]:
                if offset <= at and data.startswith(needle, at - offset):
                    spans.append((at - offset, at - offset + len(needle)))
        hold = len(data)
        if not final:
            tails = (start for start in range(max(0, len(data) - _PIECE), len(data)) if data[start:] in self._prefixes)
            hold = next(tails, len(data))
        return spans, hold

    def runs(self, data: bytes, state: RunState, *, final: bool) -> tuple[list[Span], int]:
        """Masked stretches of folded text as offsets into ``data``, and from where on a decision needs more text.

        ``state`` is brought up to date; its offsets count in ``data``.
        """
        if not self._grams:
            return [], len(data)
        folded = data.translate(_LOWER, _DROPPED)
        found = any(self._is_run(folded, at) for at in _sampled(folded, self._grams, _GRAM, _STRIDE))
        if found or state.open_at >= 0 or state.masked_to + NEAR >= 0:
            return _Runs(self._grams, self._starts, data, folded).masked(state, final=final)
        if final:
            return [], len(data)
        last = len(folded) - _GRAM + 1
        if not any(folded[at : at + _GRAM] in self._grams for at in range(max(0, last - _UNDECIDED), last)):
            return [], self._pending(data, folded)
        cut = _last_places(data, _UNDECIDED + SHORTEST_RUN)[0]
        tail = data[cut:]
        spans, hold = _Runs(self._grams, self._starts, tail, tail.translate(_LOWER, _DROPPED)).masked(
            state, final=False
        )
        return spans, cut + hold

    def _pending(self, data: bytes, folded: bytes) -> int:
        width = next((length for length in range(_GRAM - 1, 0, -1) if folded[-length:] in self._starts), 0)
        return _pending(data, folded, _last_places(data, width), self._starts) if width else len(data)

    def _is_run(self, folded: bytes, seed: int) -> bool:
        """Whether known 6-grams around this one make up a piece of 12. Most single finds are chance: digits, word endings."""
        low = high = seed
        while high - low < _STRIDE - 1 and low > 0 and folded[low - 1 : low - 1 + _GRAM] in self._grams:
            low -= 1
        while high - low < _STRIDE - 1 and folded[high + 1 : high + 1 + _GRAM] in self._grams:
            high += 1
        return high - low >= _STRIDE - 1


@dataclass(slots=True)
class _Runs:
    """One stretch of text in which something was found: the slow, exact look around the finds.

    ``at[i]`` is the offset in ``data`` of the folded character ``i``.
    """

    grams: set[bytes]
    starts: set[bytes]
    data: bytes
    folded: bytes
    at: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at = list(compress(range(len(self.data)), self.data.translate(_IS_KEPT)))

    def masked(self, state: RunState, *, final: bool) -> tuple[list[Span], int]:
        """See ``Values.runs``."""
        first = bisect_left(self.at, state.open_at) if state.open_at >= 0 else -1
        pieces = self._pieces()
        strong = [piece for piece in pieces if piece[1] - piece[0] >= SHORTEST_RUN or piece[0] <= first < piece[1]]
        count = len(self.folded)
        idle = first >= 0 and count - first < _GRAM  # nothing came but separators
        going_on = not final and not _closed(self.data, self.at) and (idle or any(end == count for _, end in strong))
        trailing = next((start for start, end in pieces if end == count), None)
        if final:
            hold = len(self.data)
        elif going_on:
            hold = self.at[-1] + 1  # what stands between this and the next character of the run is masked with it
        elif trailing is not None and not _closed(self.data, self.at):
            hold = self.at[trailing]
        else:
            hold = _pending(self.data, self.folded, self.at[-_GRAM + 1 :], self.starts)
        spans, hold = self._decided(pieces, strong, state, hold, final=final)
        if strong:
            start, end = strong[-1]
            state.masked_from = min(state.masked_from, self.at[start]) if start <= first else self.at[start]
            state.masked_to = self.at[end - 1] + 1
        state.open_at = self.at[max(0, count - _GRAM + 1)] if going_on else -1
        return spans, hold

    def _decided(
        self, pieces: list[Span], strong: list[Span], state: RunState, hold: int, *, final: bool
    ) -> tuple[list[Span], int]:
        """Spans of the strong pieces and of the weak ones near them, and ``hold`` moved before the undecided weak ones."""
        firm = set(strong)
        begins = [*(self.at[start] for start, _ in strong), math.inf]
        ends = [self.at[end - 1] + 1 for _, end in strong]
        spans, safe = [], hold
        for start, end in pieces:
            low, high = self.at[start], self.at[end - 1] + 1
            earlier = bisect_left(begins, low)
            behind = ends[earlier - 1] if earlier else state.masked_to if state.masked_from < low else -math.inf
            near_before = low - behind <= NEAR
            near_after = begins[bisect_right(begins, low)] - high <= NEAR
            if (start, end) in firm or near_before or near_after:
                spans.append((low, high))
            elif not final and hold - high <= NEAR:
                safe = min(safe, low)
        return spans, safe

    def _pieces(self) -> list[Span]:
        """Maximal stretches in which every 6-gram is known, as half-open ranges of folded characters, in order."""
        known = _known(self.folded, self.grams)
        for before, (low, high) in enumerate(pairwise(self.at)):
            if high - low - 1 > GAP:
                torn = range(max(0, before - _GRAM + 2), min(before + 1, len(known)))
                known[torn.start : torn.stop] = bytes(len(torn))
        return [(match.start(), match.end() + _GRAM - 1) for match in _STRETCH.finditer(known)]


def _connected(places: Sequence[int]) -> bool:
    return all(after - before - 1 <= GAP for before, after in pairwise(places))


def _closed(data: bytes, at: Sequence[int]) -> bool:
    """Whether so much that is not folded ends the text that no run can reach over it."""
    return not at or len(data) - at[-1] - 1 > GAP


def _last_places(data: bytes, count: int) -> list[int]:
    """Where the last ``count`` folded characters stand, as far as they can be connected."""
    for reach in (4 * count, count * (GAP + 1)):
        start = max(0, len(data) - reach)
        places = list(compress(range(start, len(data)), data[start:].translate(_IS_KEPT)))
        if len(places) >= count:
            break
    return places[-count:]


def _pending(data: bytes, folded: bytes, places: Sequence[int], starts: set[bytes]) -> int:
    """From where on the last few characters may be the start of a run, given that no known 6-gram ends the text."""
    if _closed(data, places):
        return len(data)
    for index, place in enumerate(places):
        if folded[index - len(places) :] in starts and _connected(places[index:]):
            return place
    return len(data)


def _known(folded: bytes, grams: AbstractSet[bytes]) -> bytearray:
    """For each place whether a known 6-gram stands there; cut in blocks by C code, once for each of six offsets."""
    count = max(0, len(folded) - _GRAM + 1)
    known, block = bytearray(count), _block(_GRAM, _GRAM)
    for offset in range(min(_GRAM, count)):
        found = bytearray()
        start = offset
        while start + block.size <= len(folded):
            found += bytes(map(grams.__contains__, block.unpack_from(folded, start)))
            start += block.size
        found += bytes(folded[at : at + _GRAM] in grams for at in range(start, count, _GRAM))
        known[offset::_GRAM] = found
    return known


@lru_cache(maxsize=32)
def _block(width: int, step: int) -> struct.Struct:
    return struct.Struct(f"{width}s{step - width}x" * 512)


def _sampled(data: bytes, known: AbstractSet[bytes], width: int, stride: int) -> Iterator[int]:
    """Every multiple of ``stride`` at which one of the ``known`` strings of ``width`` bytes stands, in no order.

    Whole blocks are looked up in one call of C code each; Python looks closer only where that found something.
    """
    step = stride if stride >= width else 2 * stride  # windows within one block cannot overlap
    block = _block(width, step)
    for first in range(0, step, stride):
        start = first
        while start + block.size <= len(data):
            if not known.isdisjoint(block.unpack_from(data, start)):
                yield from (i for i in range(start, start + block.size, step) if data[i : i + width] in known)
            start += block.size
        yield from (i for i in range(start, len(data) - width + 1, step) if data[i : i + width] in known)


def _forms(value: str) -> set[str]:
    long = len(value) >= LONG_VALUE
    chosen = (encoding for encoding in ENCODINGS if not long or encoding.name in _LONG_FORMS)
    return {_strip(form) for encoding in chosen for form in encoding.forms(value)}


def _strip(form: str) -> str:
    return SEQUENCE.sub(b"", form.encode()).decode()


def _fold(form: str) -> bytes:
    return form.encode().translate(_LOWER, _DROPPED)


def _loses_edge(value: str, count: int) -> bool:
    """Whether folding drops the first or the last ``count`` characters, so that a masked run would leave them in sight."""
    return not _fold(value[:count]) or not _fold(value[-count:])


def _pieces_of(form: str) -> Iterator[bytes]:
    """The form, or what together covers it: pieces of at most 48 bytes, so that little has to be held back."""
    size = _PIECE if form.isascii() else _PIECE // 4
    if len(form) < SHORTEST_VALUE:
        return
    for start in range(0, len(form), size):
        yield form[min(start, max(0, len(form) - size)) :][:size].encode()
