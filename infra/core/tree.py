"""What a person wrote in a file, as a plain tree in which every value knows its line; and a reader that forgets no mistake.

``infra/documents.py`` makes such trees. A reader collects ``Finding`` values instead of stopping at the first, so that whoever
wrote the file hears everything at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

Scalar = str | int | float | bool | None

_NAMED = 40
_KIND_NAMES: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a group of keys",
    tuple: "a list",
    type(None): "nothing",
}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it begins. A list is a tuple of nodes; a group maps each key to its ``Entry``."""

    value: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's own place, and its value."""

    place: Place
    node: Node


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about one place. ``path``: the keys that lead there, such as ``tools.allowed[1]``; ``hint``: what would be right."""

    place: Place
    path: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def told(self, file: str) -> str:
        """``file:line:column key: sentence hint``"""
        key = f" {self.path}:" if self.path else ""
        return f"{file}:{self.place}{key} {self.message} {self.hint}".rstrip()


@dataclass(slots=True)
class Findings:
    """What was found so far."""

    all: list[Finding] = field(default_factory=list)

    def error(self, place: Place, path: str, message: str, hint: str = "") -> None:
        self.all.append(Finding(place=place, path=path, message=message, hint=hint))

    def warn(self, place: Place, path: str, message: str, hint: str = "") -> None:
        self.all.append(Finding(place=place, path=path, message=message, hint=hint, severity=Severity.WARNING))

    @property
    def errors(self) -> tuple[Finding, ...]:
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return self._of(Severity.WARNING)

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(sorted((each for each in self.all if each.severity is severity), key=lambda each: each.place))


class Group:
    """Reads one group of keys. Each key is taken once; ``close`` reports those that nobody knows.

    A value that does not fit is reported and counts as absent, so that reading goes on.
    """

    def __init__(self, node: Node, findings: Findings, path: str = "") -> None:
        """A node that is no group is reported, and read as an empty one; nothing at all is an empty group."""
        self.place = node.place
        self.path = path
        self._findings = findings
        self._known: list[str] = []
        self._entries: Mapping[str, Entry] = {}
        if isinstance(node.value, Mapping):
            self._entries = node.value
        elif node.value is not None:
            findings.error(node.place, path, f"This is {kind_of(node)}, and a group of keys belongs here.")

    def entry(self, name: str) -> Entry | None:
        """The key's entry; a key without a value counts as absent."""
        self._known.append(name)
        entry = self._entries.get(name)
        return None if entry is None or entry.node.value is None else entry

    def at(self, name: str) -> str:
        """The path of a key of this group."""
        return f"{self.path}.{name}" if self.path else name

    def place_of(self, name: str) -> Place:
        """Where the key's value is – or the group, when the key is absent."""
        entry = self._entries.get(name)
        return entry.node.place if entry is not None else self.place

    def scalar(self, name: str, read: Callable[[Scalar], T], default: T) -> T:
        """The value as ``read`` understands it; what it refuses by ``ValueError`` (message: a sentence) is reported."""
        entry = self.entry(name)
        if entry is None:
            return default
        value = entry.node.value
        if isinstance(value, Mapping | tuple):
            message = f"This is {kind_of(entry.node)}, and a single value belongs here."
            self._findings.error(entry.node.place, self.at(name), message)
            return default
        try:
            return read(value)
        except ValueError as error:
            self._findings.error(entry.node.place, self.at(name), str(error))
            return default

    def items(self, name: str) -> tuple[tuple[Node, str], ...]:
        """The list's elements, each with its path."""
        entry = self.entry(name)
        if entry is None:
            return ()
        if not isinstance(entry.node.value, tuple):
            message = f"This is {kind_of(entry.node)}, and a list belongs here."
            self._findings.error(entry.node.place, self.at(name), message, "Write - before each element.")
            return ()
        return tuple((node, f"{self.at(name)}[{number}]") for number, node in enumerate(entry.node.value))

    def group(self, name: str) -> Group:
        """The group below a key; an empty one when it is absent."""
        entry = self.entry(name)
        node = Node({}, self.place) if entry is None else entry.node
        return Group(node, self._findings, self.at(name))

    def groups(self, name: str) -> tuple[Group, ...]:
        """A list of groups."""
        return tuple(Group(node, self._findings, path) for node, path in self.items(name))

    def pairs(self) -> tuple[tuple[str, Entry], ...]:
        """All entries, for a group whose keys are names of the writer's own."""
        self._known += self._entries
        return tuple(self._entries.items())

    def close(self) -> None:
        """Reports each key that was not asked for."""
        for name, entry in self._entries.items():
            if name not in self._known:
                message = f"There is no key {shown(name)} here."
                self._findings.error(entry.place, self.at(shown(name)), message, choices(name, self._known))


def kind_of(node: Node) -> str:
    """What kind of value it is, in words."""
    kind = dict if isinstance(node.value, Mapping) else type(node.value)
    return _KIND_NAMES[kind]


def shown(text: str) -> str:
    """A word of the writer's own as it may be repeated to people: printable and short."""
    clean = "".join(each if each.isprintable() else "?" for each in text)
    return clean if len(clean) <= _NAMED else f"{clean[:_NAMED]}…"


def choices(name: str, known: Iterable[str]) -> str:
    """The nearest known name, and all that are allowed."""
    allowed = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name[:_NAMED], allowed, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}Allowed: {', '.join(allowed)}."


def text(value: Scalar) -> str:
    """For ``Group.scalar``: any text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("A text belongs here.")
    return value


def flag(value: Scalar) -> bool:
    """For ``Group.scalar``: true or false, not yes or no."""
    if not isinstance(value, bool):
        raise ValueError("Write true or false.")  # noqa: TRY004 - what a person wrote, not a type of ours
    return value


def whole(least: int, most: int) -> Callable[[Scalar], int]:
    """For ``Group.scalar``: a whole number within bounds."""

    def read(value: Scalar) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"A whole number from {least} to {most} belongs here.")
        return value

    return read


def one_of(names: Sequence[str]) -> Callable[[Scalar], str]:
    """For ``Group.scalar``: one of these words."""

    def read(value: Scalar) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"{shown(str(value))} is not known here. {choices(str(value), names)}")
        return value

    return read
