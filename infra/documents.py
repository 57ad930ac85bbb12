"""YAML → plain tree with line numbers, safe and bounded: no tags, no types but the plain ones, every error with its place.

PyYAML's parser gives events; the tree is made here, so that nothing is ever constructed from a tag. Plain words are read by the
core rules of YAML 1.2 (``no`` and ``on`` are words, ``0123`` and ``1:30`` are no numbers), not by PyYAML's of 1.1.
https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.core.errors import Invalid
from infra.core.tree import Entry, Node, Place, Scalar, shown

if TYPE_CHECKING:
    from yaml import Event

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_DIGITS = 18
"""More are no number that anybody means, and Python refuses to read more than 4300."""

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# What YAML does not print, https://yaml.org/spec/1.2.2/#51-character-set, and surrogates
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLimits:
    """``values`` counts every value as often as aliases repeat it."""

    size: int = 128 * 1024
    depth: int = 24
    values: int = 10_000


class Unreadable(Invalid):
    """The text is no document of ours. ``place`` is where that shows; the message names it."""

    default_code = "unreadable_document"

    def __init__(self, place: Place, message: str, *, hint: str = "") -> None:
        super().__init__(f"line {place.line}, column {place.column}: {message}", hint=hint)
        self.place = place
        self.problem = message


def read_yaml(source: bytes, limits: DocumentLimits = DocumentLimits()) -> Node:
    """The one document in ``source``; an empty one is a node with None. Raises ``Unreadable``."""
    if len(source) > limits.size:
        message = f"The file has {len(source):,} bytes; {limits.size:,} are allowed."
        raise Unreadable(Place(1, 1), message, hint="Split it, or leave out what is not settings.")
    return _Builder(limits).document(_events(_decoded(source)))


def _decoded(source: bytes) -> str:
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8", "replace")
        raise Unreadable(_place_after(before), "This is not UTF-8.", hint="Save the file as UTF-8.") from error
    if odd := _UNPRINTABLE.search(text):
        message = f"The character U+{ord(odd.group()):04X} is not allowed."
        raise Unreadable(_place_after(text[: odd.start()]), message, hint="Delete it; editors may not show it.")
    return text


def _place_after(before: str) -> Place:
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", before)
    return Place(len(lines), len(lines[-1]) + 1)


def _events(text: str) -> Iterator[Event]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser is ten times as fast
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)
        said = (error.problem or error.context or "it cannot be read").rstrip(".")
        hint = "Indent with spaces; put texts with : # { or a leading @ in quotes."
        raise Unreadable(place, f"This is not YAML: {said}.", hint=hint) from error


def _place(event: Any) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1)


class _Builder:
    """One document; counts what it makes, aliases as often as they are used."""

    def __init__(self, limits: DocumentLimits) -> None:
        self._limits = limits
        self._made = 0
        self._anchors: dict[str, tuple[Node, int, int]] = {}

    def document(self, events: Iterator[Event]) -> Node:
        from yaml import DocumentEndEvent, DocumentStartEvent, StreamEndEvent, StreamStartEvent

        found: Node | None = None
        for event in events:
            match event:
                case StreamStartEvent() | StreamEndEvent() | DocumentEndEvent():
                    continue
                case DocumentStartEvent() if event.tags:
                    raise Unreadable(_place(event), "%TAG is not allowed.")
                case DocumentStartEvent() if found is not None:
                    raise Unreadable(_place(event), "A second document begins here; one is allowed.")
                case DocumentStartEvent():
                    found = self._node(next(events), events, 1)[0]
        return found if found is not None else Node(None, Place(1, 1))

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> tuple[Node, int]:
        """The node that begins with ``event``, and how deep it goes below."""
        from yaml import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

        place = _place(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        before = self._made
        self._count(place, 1)
        self._check_depth(place, depth)
        if getattr(event, "tag", None) is not None:
            raise Unreadable(place, "Tags (words with a leading !) are not allowed.", hint="Put a text in quotes.")
        below = 0
        match event:
            case ScalarEvent():
                plain = event.style is None or event.style == ""
                node = Node(_scalar(event.value, place) if plain else event.value, place)
            case SequenceStartEvent():
                node, below = self._sequence(place, events, depth)
            case MappingStartEvent():
                node, below = self._mapping(place, events, depth)
            case _:
                raise AssertionError(f"{event} begins no node")
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._made - before, below)
        return node, below

    def _sequence(self, place: Place, events: Iterator[Event], depth: int) -> tuple[Node, int]:
        from yaml import SequenceEndEvent

        found: list[Node] = []
        deepest = 0
        while not isinstance(event := next(events), SequenceEndEvent):
            node, below = self._node(event, events, depth + 1)
            found.append(node)
            deepest = max(deepest, below + 1)
        return Node(tuple(found), place), deepest

    def _mapping(self, place: Place, events: Iterator[Event], depth: int) -> tuple[Node, int]:
        from yaml import MappingEndEvent

        found: dict[str, Entry] = {}
        deepest = 0
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._key(event)
            if key in found:
                message = f"The key {shown(key)} is here twice (first in line {found[key].place.line})."
                raise Unreadable(_place(event), message, hint="Keep one of them.")
            node, below = self._node(next(events), events, depth + 1)
            found[key] = Entry(_place(event), node)
            deepest = max(deepest, below + 1)
        return Node(found, place), deepest

    def _key(self, event: Event) -> str:
        from yaml import ScalarEvent

        place = _place(event)
        if not isinstance(event, ScalarEvent) or not event.value:
            raise Unreadable(place, "A key is a single word.", hint="Put a text with { or [ in quotes.")
        if event.tag is not None or event.anchor is not None:
            raise Unreadable(place, "A key has no tag and no anchor.")
        if event.value == "<<":
            raise Unreadable(place, "Merge keys (<<) are not allowed.", hint="Write the keys out.")
        key: str = event.value
        return key

    def _alias(self, event: Any, depth: int) -> tuple[Node, int]:
        place = _place(event)
        if event.anchor not in self._anchors:
            message = f"The alias *{shown(event.anchor)} stands for nothing before it."
            raise Unreadable(place, message, hint="An anchor cannot hold itself.")
        node, size, below = self._anchors[event.anchor]
        self._count(place, size)
        self._check_depth(place, depth + below)
        return node, below

    def _count(self, place: Place, size: int) -> None:
        self._made += size
        if self._made > self._limits.values:
            raise Unreadable(place, f"More than {self._limits.values:,} values are not allowed, aliases counted.")

    def _check_depth(self, place: Place, depth: int) -> None:
        if depth > self._limits.depth:
            raise Unreadable(place, f"This is nested deeper than {self._limits.depth} levels.")


def _scalar(text: str, place: Place) -> Scalar:
    """What a plain word stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > _DIGITS:
            raise Unreadable(place, f"A number has at most {_DIGITS} digits.", hint="Put a text of digits in quotes.")
        return int(text)
    if len(text) <= 2 * _DIGITS and _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
