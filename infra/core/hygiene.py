"""Text that strangers wrote, reduced to what a person reading it on the forge would see – and a note of what was taken out. Pure.

An instruction that only the model can read is the start of most attacks on agents. What is hidden is not judged, it is
removed and *shown*: the notice goes to the timeline, the prompt and the pull request, an escaped excerpt is kept with the run.
Code blocks and code spans keep their HTML, because there everybody sees it. What stays visible stays: a fence and a sandbox
are for that, not a filter.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

from infra.core.code_spans import SENTINEL, TOKEN, mark_code
from infra.core.hidden_text import Cleaned, Removal
from infra.core.html_text import shown
from infra.core.invisible import decoded, visible
from infra.core.link_text import plain_links

LONGEST_RUN = 1_000
"""Characters without a blank, in an alphabet of encodings, that are kept."""

_EXCERPT = 160
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_DATA_URL = re.compile(r"\bdata:[\w.+-]+/[\w.+-]+[^\s,<>\"'`]{0,200},[^\s<>\"'`)\]]*+", re.IGNORECASE)
_ENCODED = re.compile(rf"[A-Za-z0-9+/=_-]{{{LONGEST_RUN + 1},}}+")
# GitHub renders formulas and diagrams, and both can hold text that is not drawn.
# https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting
_FORMULA = re.compile(r"\$\$[^$]*+\$\$|\$[^$\n]++\$")
_HIDING_FORMULA = re.compile(
    r"\\[hv]?phantom|\\(?:text)?color\s*\{?\s*(?:white|transparent|#f{3}|\[)|\\(?:style|class|cssId|unicode|href)\b",
    re.IGNORECASE,
)
_DRAWN = re.compile(r"[ >*+\-\d.)]*(?:`{3,}|~{3,})[ \t]*(mermaid|math|geojson|topojson|stl)\b", re.IGNORECASE)
_OPENING = re.compile(r"\A([ >*+\-\d.)]*(?:`{3,}(?=[^`\n]*(?:\n|$))|~{3,})[ \t]*(?:[\w+#.-]{1,30}(?![^\s]))?)(.*)")
_DOUBTFUL_FENCE = re.compile(
    r"(?m)^([ \t>*+\-\d.)]*(?:`{3,}(?=[^`\n]*$)|~{3,})[ \t]*(?:[\w+#.-]{1,30}(?![^\s]))?)([^\n]*\S[^\n]*)$"
)
_MERMAID_COMMENT = re.compile(r"(?m)^[ \t>]*%%.*$")


def clean(text: str) -> Cleaned:
    """The visible text. Cleaning it again changes nothing that matters: what was hidden is gone."""
    return _Cleaning().clean(text)


@dataclass(slots=True)
class _Cleaning:
    removed: list[Removal] = field(default_factory=list)
    code: tuple[str, ...] = ()

    def clean(self, text: str) -> Cleaned:
        text = re.sub(r"\r\n?", "\n", text)
        text = self._without(_TERMINAL, "terminal control sequence", text.replace(SENTINEL, ""))
        marked = mark_code(text)
        self.code = marked.code
        text = shown(marked.text, marked.regions, self._report)
        text = plain_links(text, self._report)
        text = self._without(_DATA_URL, "data: URL", text)
        text = self._formulas(text)
        text = _DOUBTFUL_FENCE.sub(self._opening, text)
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
        text = TOKEN.sub(lambda token: self._code(self.code[int(token[1])]), text)
        text, hidden = visible(text)
        if hidden:
            self._report("run of invisible characters", hidden)
        text = _ENCODED.sub(self._shortened, text)
        return Cleaned(text.strip(), tuple(self.removed))

    def _without(self, pattern: re.Pattern[str], what: str, text: str) -> str:
        def away(found: re.Match[str]) -> str:
            self._report(what, found[0])
            return ""

        return pattern.sub(away, text)

    def _formulas(self, text: str) -> str:
        def judged(found: re.Match[str]) -> str:
            if not _HIDING_FORMULA.search(self._restored(found[0])):
                return found[0]
            self._report("formula with hidden parts", found[0])
            return ""

        return _FORMULA.sub(judged, text)

    def _code(self, code: str) -> str:
        """Code as it is, without what stands beside the language's name, unless the forge draws a picture of it instead."""
        code = _OPENING.sub(self._opening, code, count=1)
        drawn = _DRAWN.match(code)
        if drawn is None:
            return code
        language = drawn[1].lower()
        if language == "mermaid":
            return self._without(_MERMAID_COMMENT, "comment in a diagram", code)
        if language == "math" and not _HIDING_FORMULA.search(code):
            return code
        self._report("drawn block", code)
        return ""

    def _opening(self, found: re.Match[str]) -> str:
        """The line that opens a block of code. What stands behind the name of the language is not shown."""
        if found[2].strip():
            self._report("text beside a code block's language", found[2].strip())
        return found[1]

    def _shortened(self, found: re.Match[str]) -> str:
        rest = found[0][80:]
        self._report("run of encoded data", rest)
        return f"{found[0][:80]}… ({len(rest):,} more characters)"

    def _restored(self, text: str) -> str:
        return TOKEN.sub(lambda token: self.code[int(token[1])], text)

    def _report(self, what: str, text: str) -> None:
        whole = self._restored(text)
        self.removed.append(Removal(kind=what, characters=len(whole), excerpt=_escaped(whole)))


def _escaped(text: str) -> str:
    """Visible ASCII only, so that it can be shown anywhere and does nothing."""
    begun = decoded(text[:_EXCERPT])
    line = " ".join(begun.split()) if begun.isprintable() else begun
    escaped = line.encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= 2 * _EXCERPT else f"{escaped[: 2 * _EXCERPT]}..."
