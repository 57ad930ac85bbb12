"""Markdown links and pictures, reduced to what people see: no titles, no descriptions, no definitions out of sight. Pure.

Reference links are written out, so that nothing is left that only a definition says. Addresses stay, because tasks refer to
them, unless they are none: they are behind the words that people see, and they are the one thing hidden there that is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.core.html_text import Report, is_plain_alt, safe_url

_DEFINITION = re.compile(
    r"(?m)^(?:[ >\t]|[-*+] |\d{1,9}[.)] )*\[(?!\^)((?:[^\[\]\\]|\\.){1,999}+)\]:[ \t]*+\n?[ \t>]*+(<[^<>\n]*+>|[^\s<]\S*+)"
    r"(?:(?:[ \t]++|[ \t]*+\n[ \t>]*+)(\"(?:[^\"\\\n]|\\.|\n(?!\s*\n))*+\"|'(?:[^'\\\n]|\\.|\n(?!\s*\n))*+'|\((?:[^()\\\n]|\\.|\n(?!\s*\n))*+\)))?[ \t]*$"
)
_FOOTNOTE = re.compile(r"(?m)^[ >]{0,3}\[\^([^\]\s]{1,100})\]:.*(?:\n(?:[ \t]+\S.*|[ \t]*(?=\n[ \t]+\S)))*")
_PLAIN_LABEL = re.compile(r"[\w.:/#-]{1,40}(?: [\w.-]{1,20})?", re.ASCII)
_FOOTNOTE_MARK = re.compile(r"\[\^([^\]\s]{1,100})\](?!:)")
_BRACKET = re.compile(r"\\.|[\[\]]", re.DOTALL)
_DESTINATION = re.compile(r"\(\s*+(?:<([^<>\n]*+)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.|\([^\s()]*+\))*+\))*+))")
_TITLE = re.compile(r"""\s++(?:"((?:[^"\\]|\\.)*+)"|'((?:[^'\\]|\\.)*+)'|\(((?:[^()\\]|\\.)*+)\))""", re.DOTALL)
_CLOSE = re.compile(r"\s*+\)")
_LABEL = re.compile(r"\[((?:[^\[\]\\]|\\.){0,999}+)\]")


def plain_links(text: str, report: Report) -> str:
    """The text with ``[words](address)`` and ``![](address)`` as its only links and pictures."""
    definitions: dict[str, tuple[str, str, str]] = {}

    def define(found: re.Match[str]) -> str:
        url = found[2].strip("<>")
        definitions.setdefault(_folded(found[1]), (url, (found[3] or "")[1:-1], found[0]))
        return ""

    text = _DEFINITION.sub(define, text)
    links = _Links(text, definitions, report)
    result = links.rewritten()
    for label, (_, title, whole) in definitions.items():
        if label not in links.used:
            report("link definition that is not shown", whole)
        elif title:
            report("link title", title)
    return _without_unused_footnotes(result, report)


def _without_unused_footnotes(text: str, report: Report) -> str:
    referred = {found[1] for found in _FOOTNOTE_MARK.finditer(text)}

    def judged(found: re.Match[str]) -> str:
        if found[1] in referred:
            return found[0]
        report("footnote that is not shown", found[0])
        return ""

    return _FOOTNOTE.sub(judged, text)


@dataclass(slots=True)
class _Edit:
    start: int
    end: int
    instead: str
    hidden: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Links:
    text: str
    definitions: Mapping[str, tuple[str, str, str]]
    report: Report
    used: set[str] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)

    def rewritten(self) -> str:
        edits: list[_Edit] = []
        for start, end in _brackets(self.text):
            if start in self.labels:
                continue
            picture = start > 0 and self.text[start - 1] == "!" and not _escaped(self.text, start - 1)
            tail = self._inline(end + 1) or self._reference(start, end)
            if tail is not None:
                edits += [*self._alt(start, end, picture=picture), tail]
        edits.sort(key=lambda edit: (edit.start, -edit.end))
        out, place = [], 0
        for edit in edits:
            if edit.start < place:
                continue  # inside of something that is gone already
            for what, hidden in edit.hidden:
                self.report(what, hidden)
            out += [self.text[place : edit.start], edit.instead]
            place = edit.end
        return "".join([*out, self.text[place:]])

    def _alt(self, start: int, end: int, *, picture: bool) -> list[_Edit]:
        alt = self.text[start + 1 : end]
        if not picture or not alt:
            return []
        hidden = () if is_plain_alt(alt) else (("image description", alt),)
        return [_Edit(start + 1, end, "", hidden)]

    def _inline(self, at: int) -> _Edit | None:
        found = _DESTINATION.match(self.text, at)
        if found is None:
            return None
        title = _TITLE.match(self.text, found.end())
        close = _CLOSE.match(self.text, title.end() if title else found.end())
        if close is None:
            return None
        url = found[1] if found[1] is not None else found[2]
        words = next((part for part in title.groups() if part is not None), "") if title else ""
        return self._tail(at, close.end(), url, words)

    def _reference(self, start: int, end: int) -> _Edit | None:
        """``[words][label]``, ``[label][]`` and ``[label]``, for labels that are defined."""
        found = _LABEL.match(self.text, end + 1)
        own = self.text[start + 1 : end]
        label = _folded((found[1] or own) if found else own)
        if label not in self.definitions:
            return None
        self.used.add(label)
        if found:
            self.labels.add(found.start())
        edit = self._tail(end + 1, found.end() if found else end + 1, self.definitions[label][0], "")
        if found and found[1] and not _PLAIN_LABEL.fullmatch(found[1]):
            edit.hidden = (*edit.hidden, ("link label", found[1]))
        return edit

    def _tail(self, start: int, end: int, url: str, title: str) -> _Edit:
        hidden = [("link title", title)] if title.strip() else []
        if url and not safe_url(url):
            hidden.append(("link target", url))
            url = ""
        return _Edit(start, end, f"({url})", tuple(hidden))


def _brackets(text: str) -> list[tuple[int, int]]:
    """Pairs that belong together, as they open."""
    opened: list[int] = []
    pairs: list[tuple[int, int]] = []
    for found in _BRACKET.finditer(text):
        if found[0] == "[":
            opened.append(found.start())
        elif found[0] == "]" and opened:
            pairs.append((opened.pop(), found.start()))
    return sorted(pairs)


def _escaped(text: str, at: int) -> bool:
    return at > 0 and text[at - 1] == "\\"


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()
