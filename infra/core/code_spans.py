"""Which parts of a Markdown text are certainly shown as code, and so show their HTML to everybody. Pure.

Whoever hides text tries to make it look like code to us and like a comment to GitHub. So this never guesses: only what every
reading of the CommonMark rules takes for code counts (https://spec.commonmark.org/0.31.2/), and after a doubtful fence nothing
does any more. Taking code for text costs a visible detail; the other way round would let hidden text through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SENTINEL = "\0"
TOKEN = re.compile(f"{SENTINEL}(\\d+){SENTINEL}")

_FENCE = re.compile(r"((?:[ >]|[-*+] |\d{1,9}[.)] )*)(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_MAYBE_FENCE = re.compile(r"[\s>*+\-\d.)]*(?:`{3,}|~{3,})")
_MARKER = re.compile(r"[-*+]|\d{1,9}[.)]")
_HTML = re.compile(r"[\s>*+\-\d.)]*<[A-Za-z/!?]")
_EXACT = re.compile(r" {0,3}<(?:(?:pre|script|style|textarea)(?=[\s>]|$)|(?P<comment>!--))", re.IGNORECASE)
_LONG = re.compile(
    r"[\s>*+\-\d.)]*<(?:(?:pre|script|style|textarea)\b|[!?])", re.IGNORECASE
)  # goes on over blank lines
_RAW_END, _COMMENT_END = re.compile(r"</(?:pre|script|style|textarea)>", re.IGNORECASE), re.compile("-->")
_TAG = re.compile(r"<[A-Za-z/!?]")
_RUN = re.compile(r"`+")
_WHOLE_TARGET = re.compile(r"\]\([^\s()`<>\"']*\)")


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the marked text that begins a line with HTML: there browsers are less strict than Markdown."""

    start: int
    end: int


@dataclass(slots=True)
class Marked:
    """The text with a token in place of each piece of code."""

    text: str
    code: tuple[str, ...]
    regions: tuple[Region, ...]

    def restored(self, text: str) -> str:
        return TOKEN.sub(lambda token: self.code[int(token[1])], text)


def mark_code(text: str) -> Marked:
    """``text`` holds no ``SENTINEL`` and only ``\\n`` as line end."""
    return _Marking(text.split("\n")).marked()


@dataclass(slots=True)
class _Marking:
    lines: list[str]
    out: list[str] = field(default_factory=list)
    size: int = 0
    code: list[str] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    region_at: int = -1
    region_end: re.Pattern[str] | None = None
    sure: bool = True
    inline: bool = True

    def marked(self) -> Marked:
        number = 0
        while number < len(self.lines):
            number += self._line(number)
        self._close_region()
        return Marked("\n".join(self.out), tuple(self.code), tuple(self.regions))

    def _line(self, number: int) -> int:
        """Takes one line or a whole block of code; returns how many lines that was."""
        line = self.lines[number]
        if self.region_at >= 0 or _HTML.match(line):
            self._html(line)
            return 1
        if not line.strip():
            self.inline = True
        elif _MAYBE_FENCE.match(line):
            height = self._fenced(number) if self.sure else 0
            if height:
                self._put(self._token("\n".join(self.lines[number : number + height])))
                self.inline = True
                return height
            self.sure = self.inline = False
        self._put(self._spans(line))
        return 1

    def _html(self, line: str) -> None:
        """A line of a region. Its first line says how it ends: some at a closing mark, most at a blank line."""
        if self.region_at < 0:
            self.region_at, self.inline = self.size, False
            exact = _EXACT.match(line)
            self.region_end = (_COMMENT_END if exact["comment"] else _RAW_END) if exact else None
            self.sure = self.sure and (exact is not None or _LONG.match(line) is None)
        elif self.region_end is None and (_MAYBE_FENCE.match(line) or _LONG.match(line)):
            self.sure = False
        self._put(line)
        if self.region_end.search(line) if self.region_end else not line.strip():
            self._close_region()

    def _fenced(self, number: int) -> int:
        """The height of the block that a fence opens; 0 where rules could be read in two ways."""
        found = _FENCE.match(self.lines[number])
        if found is None or "|" in found[3]:  # some take this for a table
            return 0
        prefix, fence = _MARKER.sub(lambda marker: " " * len(marker[0]), found[1]), found[2]
        if not found[1]:
            closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
            for at in range(number + 1, len(self.lines)):
                if closing.match(self.lines[at]):
                    return at - number + 1
            return len(self.lines) - number  # a fence that nobody closes reaches to the end
        if fence[0] == "~" and len(prefix) > 3:
            return 0
        for at in range(number + 1, len(self.lines)):
            line = self.lines[at]
            if re.fullmatch(rf"{re.escape(prefix)}{re.escape(fence[0])}{{{len(fence)},}} *", line):
                return at - number + 1
            inside = line.startswith(prefix) or line.rstrip() == prefix.rstrip()
            if not inside or fence[0] * 3 in line or "\t" in line[: len(prefix) + 1]:
                return 0
        return 0

    def _spans(self, line: str) -> str:
        """Code spans that begin and end on this line, in a paragraph where all did so far and nothing else is going on."""
        if not self.inline or not self.sure:
            return line
        out, place = [], 0
        while run := _RUN.search(line, place):
            before = line[place : run.start()]
            end = re.compile(rf"(?<!`){run[0]}(?!`)").search(line, run.end())
            if "|" in line or "\\" in before[-1:] or _open(before) or end is None:
                self.inline = False
                break
            out += [before, self._token(line[run.start() : end.end()])]
            place = end.end()
        if self.inline and (_open(line[place:]) or line[-1:] in ("<", "]")):
            self.inline = False  # a tag or an address may go on in the next line
        return "".join([*out, line[place:]])

    def _close_region(self) -> None:
        if self.region_at >= 0:
            self.regions.append(Region(self.region_at, self.size))
        self.region_at, self.inline = -1, True

    def _put(self, line: str) -> None:
        self.out.append(line)
        self.size += len(line) + 1

    def _token(self, code: str) -> str:
        self.code.append(code)
        return f"{SENTINEL}{len(self.code) - 1}{SENTINEL}"


def _open(text: str) -> bool:
    """True when a backtick behind ``text`` may belong to a tag, to a link's address or title, or to a definition."""
    rest = _WHOLE_TARGET.sub("", text)
    return _TAG.search(rest) is not None or "](" in rest or "]:" in rest
