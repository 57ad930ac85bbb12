"""Secrets known only by their looks: a keyword index and a scanner that never goes back.

A ``Rule`` is a keyword (``ghp_``, ``password``, ``-----begin``) followed by ``Step``s, each a greedy run of one kind of character
between a minimum and a maximum. There is no alternation and no backtracking, so every rule is linear, and each attempt
has one of three ends on a text that is still growing: it matches, it does not, or more text is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from infra.core.redaction_values import BARRIER, Span

WINDOW = 40
"""Bytes of a run that a ``judge`` sees at most; no decision waits for more than this."""

Judge = Callable[[bytes, bytes], bool]
"""``judge(run, following)`` says whether this looks like a secret. ``following``: the next byte, empty when the run fills the
window, reaches its maximum or ends the text."""


@dataclass(frozen=True, slots=True)
class Step:
    """``kind``: a pattern for one character; ``run``: for as many as there are. ``maximum`` 0: no limit (last step only)."""

    kind: bytes
    run: re.Pattern[bytes]
    minimum: int = 1
    maximum: int = 0
    judge: Judge | None = None


def step(kind: bytes, minimum: int = 1, maximum: int = 0, judge: Judge | None = None) -> Step:
    """``kind``: a character class (or a group that matches one character), repeated possessively."""
    return Step(kind, re.compile(b"(?:" + kind + b")*+"), minimum, maximum, judge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``shown``: how many steps stay in sight together with the keyword (-1: the keyword goes too). ``tail``: steps at the end
    that stay in sight. ``prefix``: what the keyword must be where case matters. ``alone``: no letter or digit before it.
    """

    name: str
    keywords: tuple[bytes, ...]
    steps: tuple[Step, ...]
    shown: int = -1
    tail: int = 0
    prefix: re.Pattern[bytes] | None = None
    alone: bool = False
    limited: bool = field(init=False)
    head: re.Pattern[bytes] = field(init=False)
    reach: int = field(init=False)
    judged: tuple[tuple[int, Step], ...] = field(init=False)

    def __post_init__(self) -> None:
        """``limited``: every step has a maximum. ``head``: all steps that have one, a group each; it is at most ``reach`` long."""
        limited = self.steps[-1].maximum > 0
        steps = self.steps if limited else self.steps[:-1]
        pattern = b"".join(b"((?:%s){%d,%d}+)" % (each.kind, each.minimum, each.maximum) for each in steps)
        made = {
            "limited": limited,
            "head": re.compile(pattern),
            "reach": sum(each.maximum for each in steps) + WINDOW,
            "judged": tuple((number, each) for number, each in enumerate(self.steps) if each.judge is not None),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Found:
    """``growing``: the run reaches the end of the text and may go on in what follows."""

    span: Span
    growing: bool


class _Pending:
    pass


PENDING = _Pending()
_NOWHERE: Span = (0, 0)


@dataclass(slots=True)
class _Attempts:
    """One text. Remembers the last run of each step, so that runs that hold many keywords are walked once."""

    view: bytes
    final: bool
    _runs: dict[int, Span] = field(default_factory=dict)

    def run(self, current: Step, start: int) -> int:
        begin, end = self._runs.get(id(current), (1, 0))
        if not begin <= start <= end:
            match = current.run.match(self.view, start)
            end = match.end() if match else start
            self._runs[id(current)] = start, end
        return end

    def attempt(self, rule: Rule, at: int, after: int) -> Found | _Pending | None:
        """Tries ``rule`` with its keyword at ``view[at:after]``; None is a no for good."""
        view = self.view
        if rule.alone and (view[at - 1 : at].isalnum() or view[at - 1 : at] == BARRIER[:1]):
            return None
        if rule.prefix is not None and rule.prefix.fullmatch(view, at, after) is None:
            return None
        # far from the end of the text nothing can be pending, and all steps but an unlimited last one are one match
        if after + rule.reach < len(view):
            match = rule.head.match(view, after)
            if match is None:
                return None
            ends = [after, *(high for _, high in match.regs[1:])]
            if not rule.limited:
                ends.append(self.run(rule.steps[-1], ends[-1]))
            return self._judged(rule, at, ends)
        return self._step_by_step(rule, at, after)

    def _judged(self, rule: Rule, at: int, ends: list[int]) -> Found | _Pending | None:
        """All steps but the last are as long as they will ever be: only judges, and the last one's length, are left to ask."""
        view, last = self.view, rule.steps[-1]
        length = ends[-1] - ends[-2]
        growing = ends[-1] == len(view) and not self.final
        if growing and length < max(last.minimum, WINDOW if last.judge else 0):
            return self._step_by_step(rule, at, ends[0])  # an earlier judge may still say no
        if length < last.minimum:
            return None
        for number, current in rule.judged:
            start, end = ends[number], ends[number + 1]
            full = 0 < current.maximum <= end - start
            following = b"" if full or end - start >= WINDOW else view[end : end + 1]
            assert current.judge is not None
            if not current.judge(view[start : min(end, start + WINDOW)], following):
                return None
        low = at if rule.shown < 0 else ends[rule.shown]
        return Found((low, ends[len(rule.steps) - rule.tail]), growing and not rule.tail)

    def _step_by_step(self, rule: Rule, at: int, after: int) -> Found | _Pending | None:
        view, size = self.view, len(self.view)
        ends = [after]
        growing = False
        for current in rule.steps:
            start = ends[-1]
            end = self.run(current, start)
            full = 0 < current.maximum <= end - start
            end = start + current.maximum if full else end
            growing = end == size and not self.final and not full
            if growing and end - start < max(current.minimum, WINDOW if current.judge else 0):
                return PENDING
            if end - start < current.minimum:
                return None
            if current.judge:
                seen = min(end, start + WINDOW)
                following = b"" if full or end - start >= WINDOW else view[end : end + 1]
                if not current.judge(view[start:seen], following):
                    return None
            if growing and current is not rule.steps[-1]:
                return PENDING
            ends.append(end)
        low = at if rule.shown < 0 else ends[rule.shown]
        return Found((low, ends[len(rule.steps) - rule.tail]), growing and not rule.tail)


class Patterns:
    """An index over rules; holds nothing of any text, so all streams share it.

    Only the shortest of several keywords that begin alike is searched for; where it stands, the longer ones are tried too.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        pairs = sorted({(keyword, number) for number, rule in enumerate(rules) for keyword in rule.keywords})
        keywords = {keyword for keyword, _ in pairs}
        shortest = [word for word in keywords if not any(word[:length] in keywords for length in range(1, len(word)))]
        self._rules = {
            word: tuple(
                (rules[number], len(keyword), re.compile(re.escape(keyword) + _shapes(rules[number])))
                for keyword, number in pairs
                if keyword.startswith(word)
            )
            for word in shortest
        }
        self._index = re.compile(
            _trie({word: _gate(word, [(k, rules[n]) for k, n in pairs if k.startswith(word)]) for word in shortest})
        )
        self._prefixes = {keyword[:length] for keyword in keywords for length in range(1, len(keyword))}
        self._longest = max(map(len, keywords))

    def scan(
        self, view: bytes, start: int, running: Iterable[Rule], resume: int, *, final: bool
    ) -> tuple[list[Span], int, tuple[Rule, ...]]:
        """Spans to mask, from where on a decision needs more text, and the rules whose last run reached the end.

        Keywords are looked for from ``start``; ``running`` are rules whose last run had reached ``resume`` and may go on.
        """
        spans: list[Span] = []
        growing: list[Rule] = []
        for rule in running:
            match = rule.steps[-1].run.match(view, resume)
            end = match.end() if match else resume
            spans.append((resume, end))
            if end == len(view) and not final:
                growing.append(rule)
        lowered, attempts = view.lower(), _Attempts(view, final)
        hold = len(view) if final else self._partial_keyword(lowered, start)
        for at, rule, found in self._finds(lowered, start, attempts):
            if isinstance(found, Found):
                spans.append(found.span)
                if found.growing and rule not in growing:
                    growing.append(rule)
            else:
                hold = min(hold, at)
        return spans, hold, tuple(growing)

    def _finds(self, lowered: bytes, start: int, attempts: _Attempts) -> Iterator[tuple[int, Rule, Found | _Pending]]:
        """Where a keyword stands, the rule, and what came of it; in order."""
        masked: dict[str, Span] = {}
        first = self._index.search(lowered, start)
        while first is not None:
            at = first.start()
            for rule, length, shape in self._rules[first.group()]:
                low, high = masked.get(rule.name, _NOWHERE)
                # inside its own match, with its last step beginning in there: the same run, so the same end
                if low <= at < high - (length + rule.reach if rule.shown >= 0 else 0):
                    continue
                if shape.match(lowered, at) and (found := attempts.attempt(rule, at, at + length)):
                    if isinstance(found, Found) and not rule.tail:
                        masked[rule.name] = found.span
                    yield at, rule, found
            first = self._index.search(lowered, at + 1)

    def _partial_keyword(self, lowered: bytes, start: int) -> int:
        for at in range(max(start, len(lowered) - self._longest + 1), len(lowered)):
            if lowered[at:] in self._prefixes:
                return at
        return len(lowered)


def _gate(word: bytes, rules: Iterable[tuple[bytes, Rule]]) -> bytes:
    """After ``word``, what must follow (or have room to follow) for one of the rules to be worth an attempt."""
    gates = []
    for keyword, rule in rules:
        alone = b"(?<![a-z0-9\xff][\\s\\S]{%d})" % len(word) if rule.alone else b""
        gates.append(alone + re.escape(keyword[len(word) :]) + _shapes(rule))
    return b"(?=%s)" % b"|".join(dict.fromkeys(gates))


def _shapes(rule: Rule) -> bytes:
    return b"".join(_shape(current, last=current is rule.steps[-1]) for current in rule.steps)


def _shape(current: Step, *, last: bool) -> bytes:
    """One step as a lookahead; the text may end within it. Small letters, as the index sees them, stand for both cases."""
    count = b"{%d}" % current.minimum if last else b"{%d,%d}+" % (current.minimum, current.maximum)
    short = b"{0,%d}+" % max(current.minimum - 1, 0)
    return b"(?i:(?:%s)%s|(?:%s)%s\\Z)" % (current.kind, count, current.kind, short)


def _trie(leaves: Mapping[bytes, bytes]) -> bytes:
    """One pattern for all keywords, branching letter by letter: several times faster than a flat alternation.

    ``leaves``: what follows each keyword. No keyword begins with another.
    """
    if b"" in leaves:
        return leaves[b""]
    tails: dict[bytes, dict[bytes, bytes]] = {}
    for keyword, leaf in sorted(leaves.items()):
        tails.setdefault(keyword[:1], {})[keyword[1:]] = leaf
    branches = [re.escape(first) + _trie(rest) for first, rest in tails.items()]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"
