"""Output of commands as plain text with colours: what a screen shows, and nothing that could act on one.

Kept: text, tab, newline and colours (SGR: ``ESC [ … m``, of its codes only colours and weights). Removed: window titles, links
(OSC 8), clipboard writes (OSC 52), device control strings, cursor movement, screen clearing, modes, character sets, bells and
backspaces. A carriage return that would let later text overwrite earlier text becomes a newline, so nothing is hidden;
"conceal" and "blink" are not colours. Grammar: ECMA-48 and https://invisible-island.net/xterm/ctlseqs/ctlseqs.html

Clean before redacting: a secret torn apart by cursor movements is whole again afterwards. Both C0 (``ESC [``) and C1 (U+009B)
spellings are understood. Whatever is begun and not ended is bounded: a string ends at a newline, at another escape, or after
``LONGEST_STRING`` characters, so no unclosed title can swallow the rest of a log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_STRING = 4_096
"""Characters of an OSC, DCS, SOS, PM or APC string that are dropped at most."""

_SEQUENCE = re.compile(
    r"""
      (?:\x1b\[|\x9b) (?P<codes>[0-?]{0,64}) (?P<middle>[ -/]{0,8}) (?P<last>[@-~])?
    | (?P<string> \x1b[P\]X^_] | [\x90\x98\x9d-\x9f] )
    | \x1b [ -/]{0,8} [0-~]?
    | (?P<newline> \r+\n? | [\x0b\x0c\x84\x85] )
    | [\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]
    """,
    re.VERBOSE,
)
_STRING_END = re.compile(r"[\x07\n\r\x18\x1a\x1b\x9c]")
_UNFINISHED = re.compile(r"(?:(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}|\x1b[ -/]{0,8}|\r)\Z")
_LONGEST_UNFINISHED = 80
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = frozenset(
    map(
        str,
        [0, 1, 2, 3, 4, 7, *range(21, 28), *range(30, 38), 39, *range(40, 48), 49, *range(90, 98), *range(100, 108)],
    )
)
_EXTENDED = frozenset({"38", "48"})
_ARGUMENTS = {"5": 1, "2": 3}  # 38;5;n and 38;2;r;g;b


def clean(text: str) -> str:
    """A complete text."""
    stream = CleanStream()
    return stream.feed(text) + stream.flush()


@dataclass(slots=True)
class CleanStream:
    """``feed`` returns clean text and holds back at most 80 characters (a sequence that has only begun); ``flush`` ends it.

    However a text is cut into pieces, the output is the same.
    """

    _held: str = ""
    _in_string: bool = False
    _dropped: int = 0

    def feed(self, text: str) -> str:
        if not self._held and not self._in_string and not _CONTROL.search(text):
            return text
        text = self._held + text
        begun = _UNFINISHED.search(text, max(0, len(text) - _LONGEST_UNFINISHED))
        self._held = text[begun.start() :] if begun else ""
        ready = text[: begun.start()] if begun else text
        return self._cleaned(ready.rstrip("\r") if self._held == "\r" else ready)  # many returns are one

    def flush(self) -> str:
        rest = self._cleaned(self._held)
        self._held, self._in_string, self._dropped = "", False, 0
        return rest

    def _cleaned(self, text: str) -> str:
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._in_string:
                at = self._skip(text, at)
                continue
            match = _SEQUENCE.search(text, at)
            out.append(text[at : match.start() if match else len(text)])
            if match is None:
                break
            at = match.end()
            if match["newline"]:
                out.append("\n")
            elif match["string"]:
                self._in_string, self._dropped = True, 0
            elif match["last"] == "m" and not match["middle"]:
                out.append(_colours(match["codes"]))
        return "".join(out)

    def _skip(self, text: str, at: int) -> int:
        """Past the string, or the text. What ends the string is left for the caller: it may begin something new."""
        limit = min(len(text), at + LONGEST_STRING - self._dropped)
        stop = _STRING_END.search(text, at, limit)
        end = stop.start() if stop else limit
        self._dropped += end - at
        self._in_string = stop is None and self._dropped < LONGEST_STRING
        return end


def _colours(codes: str) -> str:
    """The SGR sequence with only its colours and weights; empty when nothing is left."""
    kept: list[str] = []
    parts = iter(codes.split(";"))
    for part in parts:
        code = part.lstrip("0") or "0"
        if code in _EXTENDED:
            kind = next(parts, "")
            values = [next(parts, "") for _ in range(_ARGUMENTS.get(kind, 0))]
            if values and all(re.fullmatch("[0-9]{1,3}", value) for value in values):
                kept += [code, kind, *values]
        elif code in _COLOURS:
            kept.append(code)
    return f"\x1b[{';'.join(kept)}m" if kept else ""
