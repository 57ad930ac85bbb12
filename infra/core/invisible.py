"""Characters that people do not see but models read; and the few of them that honest writing needs. Pure.

Removed are Unicode's format, control, private-use and unassigned characters, variation selectors, tags, fillers and blanks
that look like nothing. Kept are: the joiners inside of emoji and of scripts that are written with them, the selector
that chooses between text and picture, and the three flags that are spelled with tags.
https://www.unicode.org/reports/tr36/ and https://www.unicode.org/reports/tr51/
"""

from __future__ import annotations

import re
import unicodedata

_ZWNJ, _ZWJ, _TEXT, _PICTURE = "\u200c", "\u200d", "\ufe0e", "\ufe0f"
_BLANK_LETTERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc\U0001d159"  # fillers and joiners
)
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_FLAGS = tuple(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_FLAG = re.compile("|".join(_FLAGS))
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_BREAKS = re.compile("[\x85\u2028\u2029]")
_SUSPECT = re.compile(
    "[^\t\n\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u0370-\u0377\u0400-\u052f\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]"
)
# Written with joiners: Arabic, Syriac, N'Ko, the Indic scripts, Myanmar, Khmer, Mongolian
_JOINING = re.compile("[\u0600-\u07ff\u0840-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f]")


def visible(text: str) -> tuple[str, str]:
    """The text without what cannot be seen, and what was taken out, in order. Odd blanks and line ends become plain ones."""
    plain = _BREAKS.sub("\n", _SPACES.sub(" ", text))
    if not _SUSPECT.search(plain):
        return plain, ""
    kept: list[str] = []
    removed: list[str] = []
    place = 0
    for found in _SUSPECT.finditer(plain):
        at = found.start()
        if at < place:
            continue  # inside a flag
        flag = _FLAG.match(plain, at)
        if flag:
            kept.append(plain[place : flag.end()])
            place = flag.end()
        elif _hidden(plain, at):
            kept.append(plain[place:at])
            removed.append(plain[at])
            place = at + 1
    return "".join([*kept, plain[place:]]), "".join(removed)


def decoded(hidden: str) -> str:
    """Hidden characters as what they say, where they are a known way of writing: tags spell ASCII, selectors spell bytes."""
    return "".join(map(_decoded, hidden))


def _hidden(text: str, at: int) -> bool:
    character = text[at]
    if character in (_ZWJ, _ZWNJ):
        return not _joins(text, at)
    if character in (_TEXT, _PICTURE):
        return not (at and _is_symbol(text[at - 1]))
    if character in _BLANK_LETTERS or _SELECTORS.match(character):
        return True
    category = unicodedata.category(character)
    if category == "Cn":
        return not _may_be_new(ord(character))
    return category in {"Cc", "Cf", "Cs", "Co"}


def _joins(text: str, at: int) -> bool:
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not before:
        return False
    if _JOINING.match(before) and (_JOINING.match(after) or after in {"", " ", "\n"}):
        return True
    return bool(after) and text[at] == _ZWJ and _is_symbol(after) and (_is_symbol(before) or before == _PICTURE)


def _is_symbol(character: str) -> bool:
    """Emoji, keycaps' digits, skin tones, and signs that have both a text and a picture form."""
    return (
        unicodedata.category(character) in {"So", "Sk", "Sm"}
        or character in "0123456789#*©®‼⁉〰〽"
        or _may_be_new(ord(character))
    ) and character not in _BLANK_LETTERS


def _may_be_new(code: int) -> bool:
    """Emoji and ideographs that are younger than this Python's tables."""
    return 0x1F000 <= code <= 0x1FAFF or (0x20000 <= code <= 0x3FFFD and code & 0xFFFE != 0xFFFE)


def _decoded(character: str) -> str:
    code = ord(character)
    if 0xE0020 <= code <= 0xE007E:
        return chr(code - 0xE0000)
    if (
        0xE0110 <= code <= 0xE016E
    ):  # selectors 33 to 127 as bytes; https://paulbutler.org/2025/smuggling-arbitrary-data-through-an-emoji/
        return chr(code - 0xE0100 + 16)
    return character
