"""The forms a registered secret may take on its way out, and the ones that no masking can know.

``ENCODINGS`` is the promise: fifteen ways to write a value, every one found by ``infra.core.redaction``. The list starts from
the encoders of the GitHub Actions runner (https://github.com/actions/runner/blob/main/src/Sdk/DTLogging/Logging/ValueEncoders.cs,
base64 ends trimmed as in its ADR 0297) and adds what agents have been seen to do: wrapped, separated, coloured, cut.
The redactor's index is built from these very functions, so that promise and code cannot drift apart.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORTEST_VALUE = 6
"""Characters. Shorter values occur in ordinary text by chance; masking them would destroy the output."""

SHORTEST_RUN = 12
"""ASCII letters and digits. Any so long a piece of a value is masked, whatever stands between, before or behind."""

_WRAPS = (64, 76)  # PEM (RFC 7468) and MIME (RFC 2045) line lengths


@dataclass(frozen=True, slots=True)
class Encoding:
    """``forms(value)``: every spelling that counts as this encoding; empty where it does not apply to the value."""

    name: str
    forms: Callable[[str], tuple[str, ...]]


def _distinct(*forms: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(forms))


def _weight(text: str) -> int:
    return sum(char.isascii() and char.isalnum() for char in text)


def _plain(value: str) -> tuple[str, ...]:
    return (value,)


def _offsets(value: str, encode: Callable[[bytes], bytes]) -> tuple[str, ...]:
    """The value as it looks inside a longer encoded text, at each of the three byte positions, and at that text's end.

    Characters that also depend on neighbouring bytes are cut off: they cannot be known, and hold 4 bits at most.
    """
    raw = value.encode()
    forms = []
    for offset in range(3):
        whole = encode(bytes(offset) + raw).decode()
        first = -(-8 * offset // 6)
        forms += [whole[first:], whole[first:].rstrip("="), whole[first : 8 * (offset + len(raw)) // 6]]
    return _distinct(*forms)


def _base64(value: str) -> tuple[str, ...]:
    return _offsets(value, base64.b64encode)


def _base64url(value: str) -> tuple[str, ...]:
    return _offsets(value, base64.urlsafe_b64encode)


def _base64_wrapped(value: str) -> tuple[str, ...]:
    whole = base64.b64encode(value.encode()).decode()
    if len(whole) <= min(_WRAPS):
        return (whole + "\n",)
    return tuple("\n".join(whole[i : i + width] for i in range(0, len(whole), width)) for width in _WRAPS)


def _hex(value: str) -> tuple[str, ...]:
    raw = value.encode()
    return _distinct(raw.hex(), raw.hex().upper(), raw.hex(" "), raw.hex(":"))


def _url(value: str) -> tuple[str, ...]:
    forms = (quote(value, safe=""), quote(value), quote_plus(value))
    lowered = (re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), form) for form in forms)
    return _distinct(*forms, *lowered)


def _percent(value: str) -> tuple[str, ...]:
    pairs = [f"{byte:02x}" for byte in value.encode()]
    return _distinct("".join(f"%{pair}" for pair in pairs), "".join(f"%{pair.upper()}" for pair in pairs))


def _json(value: str) -> tuple[str, ...]:
    ascii_only, unicode = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
    units = value.encode("utf-16-be").hex()
    every = "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
    return _distinct(ascii_only, unicode, ascii_only.replace("/", "\\/"), unicode.replace("/", "\\/"), every)


def _html(value: str) -> tuple[str, ...]:
    special = re.compile("[&<>\"']|[^\x00-\x7f]")
    return _distinct(
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&apos;"),
        html.escape(value).replace("&#x27;", "&#39;"),
        special.sub(lambda match: f"&#{ord(match.group())};", value),
        special.sub(lambda match: f"&#x{ord(match.group()):x};", value),
        "".join(f"&#{ord(char)};" for char in value),
        "".join(f"&#x{ord(char):x};" for char in value),
    )


def _shell(value: str) -> tuple[str, ...]:
    return _distinct(
        shlex.quote(value),
        "'" + value.replace("'", "'\\''") + "'",
        re.sub(r"([^A-Za-z0-9_\n])", r"\\\1", value),
        re.sub(r'(["$`\\])', r"\\\1", value),
        "".join(f"\\x{byte:02x}" for byte in value.encode()),
    )


def _quote_trimmed(value: str) -> tuple[str, ...]:
    trimmed = value.strip().strip("\"'`").strip()
    return (trimmed,) if len(trimmed) >= SHORTEST_VALUE else ()


def _case(value: str) -> tuple[str, ...]:
    return _distinct(value.upper(), value.lower(), value.swapcase()) if value.isascii() else ()


def _separated(value: str) -> tuple[str, ...]:
    return tuple(separator.join(value) for separator in " \n-") if _weight(value) >= SHORTEST_RUN else ()


def _ansi(value: str) -> tuple[str, ...]:
    middle = len(value) // 2
    coloured = f"{value[:middle]}\x1b[1;31m{value[middle:]}\x1b[0m"
    pieces = "".join(f"\x1b[3{i % 8}m{value[i : i + 3]}" for i in range(0, len(value), 3))
    return (coloured, pieces)


def _cut(value: str) -> tuple[str, ...]:
    """Some characters cut off at an end: seen in the wild to slip past exact matching."""
    pieces = (value[7:], value[:-7], value[3:-3])
    return tuple(piece for piece in pieces if _weight(piece) >= SHORTEST_RUN)


ENCODINGS: tuple[Encoding, ...] = (
    Encoding("plain", _plain),
    Encoding("base64", _base64),
    Encoding("base64url", _base64url),
    Encoding("base64 wrapped", _base64_wrapped),
    Encoding("hex", _hex),
    Encoding("url", _url),
    Encoding("percent", _percent),
    Encoding("json", _json),
    Encoding("html", _html),
    Encoding("shell", _shell),
    Encoding("quote-trimmed", _quote_trimmed),
    Encoding("case", _case),
    Encoding("separated", _separated),
    Encoding("ansi", _ansi),
    Encoding("cut", _cut),
)

NOT_COVERED: tuple[str, ...] = (
    "reversed or shuffled characters",
    "XOR, ROT13, Caesar or any other cipher",
    "compression (gzip and base64 of it), archives, images",
    "two encodings on top of each other, except those that leave letters and digits alone (base64 in JSON is found)",
    "other alphabets: base32, base58, base85, uuencode, quoted octal, Morse, homoglyphs, full-width letters",
    "UTF-16 or UTF-32 text under base64 or hex",
    "pieces with fewer than 12 ASCII letters and digits that stand further than 32 bytes from a longer piece",
    "pieces with words, numbers or letters of their own in between (one piece per sentence, per variable, per file)",
    "values with fewer than 12 ASCII letters and digits: changed spacing and pieces (whole, they are found in all other forms)",
    "a secret spread over several streams, files, list items or events",
    "anything that says a secret without its characters: hashes, lengths, yes-or-no answers, timing",
    "letters swallowed on purpose by a control sequence (ESC [ directly before a token of unknown value)",
)
"""What masking cannot promise. These are stopped by holding no secret in the sandbox, not by recognising it."""
