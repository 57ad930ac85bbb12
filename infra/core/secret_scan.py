"""Is there a secret in what would be published? Pure; the searches are those of the redactor, the answer is where and why.

A *registered* value (a credential of this very run) may not appear anywhere in any of its encodings. What only *looks* like
a secret blocks too, with two mercies that keep ordinary work possible: a value that says itself that it is made up
(``EXAMPLE``, ``xxxx``), and words after a name like ``password`` that no machine would have made. Lines that the base version of
the same file already has are not looked at: moving them publishes nothing.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from infra.core.carriers import Room, carried
from infra.core.redaction import Redactor
from infra.core.redaction_patterns import Patterns, Rule
from infra.core.redaction_rules import RULES
from infra.core.run import Reason

MOST_FINDINGS = 10
"""In one text; more would not tell a person more."""

_WINDOW, _OVERLAP = 1 << 20, 8 << 10
_NEAR = 160
_FAKE = re.compile(
    rb"example|sample|dummy|fake|placeholder|change[-_ ]?me|your[-_ ]|my[-_ ]?(?:secret|token|key|password)|redacted|"
    rb"not[-_ ]?(?:a[-_ ]?)?(?:real|secret)|insecure|lorem|deadbeef|x{4}|\*{3}|\.{3}|0{6}|1{6}|1234567|abcdefgh|<[a-z]|\$\{",
    re.IGNORECASE,
)
_FORMATS = tuple({keyword for rule in RULES if rule.shown < 0 for keyword in rule.keywords})
"""Lower-case beginnings by which an issuer marks its secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``line`` counts from 1, 0 where there are no lines. ``rule``: the pattern's name, empty for a registered value."""

    line: int
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A finding and the thing it is in: a file's path or words for a text, already fit to be shown."""

    place: str
    finding: Finding

    def __str__(self) -> str:
        line = f":{self.finding.line}" if self.finding.line else ""
        return f"{self.place}{line}" + (f" ({self.finding.rule})" if self.finding.rule else "")


@dataclass(frozen=True, slots=True)
class Scanner:
    """``values`` masks the registered values and nothing else (``Redactor(values, patterns=False)``)."""

    values: Redactor

    def file(self, content: bytes, base: bytes, room: Room) -> tuple[Finding, ...]:
        """What is wrong with a file that had the content ``base`` before. Raises ``NoRoom`` (``infra.core.carriers``)."""
        if b"\0" in content:
            findings = tuple(Finding(line=0) for _ in self._registered(content.decode("latin-1"), 1))
        else:
            findings = self._added(content, base)
        if not findings and any(
            next(self._registered(inner.decode("latin-1"), 1), None) is not None for inner in carried(content, room)
        ):
            findings = (Finding(line=0),)
        return findings

    def text(self, text: str) -> tuple[Finding, ...]:
        """What is wrong with a text that is published as it is."""
        starts = [0, *(match.end() for match in re.finditer("\n", text))]
        registered = [Finding(line=bisect_right(starts, at)) for at in self._registered(text, MOST_FINDINGS)]
        if registered:
            return tuple(dict.fromkeys(registered))
        data = text.encode("utf-8", "replace")
        breaks = [0, *(match.end() for match in re.finditer(b"\n", data))]
        looks = (Finding(line=bisect_right(breaks, at), rule=rule) for at, rule in _looks(data))
        return tuple(dict.fromkeys(looks))[:MOST_FINDINGS]

    def _added(self, content: bytes, base: bytes) -> tuple[Finding, ...]:
        """The lines that the base does not have, searched as one text, so that a secret over several of them is one."""
        known = set(base.splitlines()) if base else set()
        numbers, lines = [], []
        for number, line in enumerate(content.split(b"\n"), 1):
            if line.rstrip(b"\r") not in known:
                numbers.append(number)
                lines.append(line)
        found = self.text(b"\n".join(lines).decode("utf-8", "replace"))
        return tuple(Finding(line=numbers[finding.line - 1], rule=finding.rule) for finding in found)

    def _registered(self, text: str, most: int) -> Iterator[int]:
        """Where registered values begin, at most one a line and ``most`` in all."""
        start = 0
        for _ in range(most):
            rest = text[start:]
            masked = self.values.text(rest)
            if masked == rest:
                return
            at = _first_difference(rest, masked)
            yield start + at
            following = rest.find("\n", at) + 1
            if not following:
                return
            start += following


def blocked_by(found: Sequence[Located]) -> Reason:
    """Why the run ends here. Never says the value."""
    registered = [located for located in found if not located.finding.rule]
    if registered:
        return Reason(
            code="blocked_secret",
            message=f"A secret of this run would have been published: {_listed(registered)}. Nothing was pushed.",
            hint="Look in the run's events for how the agent came by it, and replace that credential if it may have been "
            "seen. The value itself is shown nowhere.",
        )
    return Reason(
        code="blocked_secret",
        message=f"The change holds what looks like a secret: {_listed(found)}. Nothing was pushed.",
        hint="If it is real, revoke it. If it is made up, ask for a value that says so (with EXAMPLE in it).",
    )


def _listed(found: Sequence[Located]) -> str:
    named = list(dict.fromkeys(map(str, found)))
    rest = len(named) - MOST_FINDINGS
    return ", ".join(named[:MOST_FINDINGS]) + (f" and {rest} more places" if rest > 0 else "")


def _looks(data: bytes) -> Iterator[tuple[int, str]]:
    """(place, rule) of what looks like a secret and does not say that it is made up."""
    seen = -1
    for begin in range(0, max(len(data), 1), _WINDOW):
        low = max(0, begin - _OVERLAP)
        window = b"\n" + data[low : begin + _WINDOW]
        for start, end in _spans(window, RULES):
            value = window[start:end]
            if low + end > seen and not _FAKE.search(value) and (_random(value) or value.lower().startswith(_FORMATS)):
                seen = low + end
                yield low + start - 1, _rule_of(window, start, end)


def _spans(window: bytes, rules: tuple[Rule, ...]) -> list[tuple[int, int]]:
    spans, _, _ = _patterns(rules).scan(window, 1, (), 0, final=True)
    return sorted(spans)


@cache
def _patterns(rules: tuple[Rule, ...]) -> Patterns:
    return Patterns(rules)


def _rule_of(window: bytes, start: int, end: int) -> str:
    """The rule that marks this span, tried one by one: only for the few spans that are reported."""
    low = max(0, start - _NEAR)
    near = b"\n" + window[low : end + _NEAR]
    for rule in RULES:
        if any(low + begin - 1 == start for begin, _ in _spans(near, (rule,))):
            return rule.name
    return "secret"


def _random(value: bytes) -> bool:
    """As a machine would make it: 16 characters or more, letters and digits, few repetitions. Wrapped lines count as one."""
    packed = b"".join(value.split()) if b"\n" in value else value
    if len(packed) < 16 or b" " in packed:
        return False
    if not (re.search(rb"[0-9]", packed) and re.search(rb"[A-Za-z]", packed)):
        return False
    counts = Counter(packed[:256])
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) >= 3.0


def _first_difference(text: str, other: str) -> int:
    """The length of what both begin with, found by halving: comparing slices is fast, comparing characters is not."""
    low, high = 0, min(len(text), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if text[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
