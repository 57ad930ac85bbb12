"""Keys as file names, and back: pure.

    runs/run-01k2/README.md   →   runs=/run-01k2=/+r+e+a+d+m+e.md

A folder ends in ``=``, so the objects ``a`` and ``a/b`` can both exist. A capital letter becomes ``+`` and the small one,
because laptops' file systems may ignore case; any other byte that is not plain becomes ``%hh``. A segment too long for one
file name goes on in the next one: ``~`` marks both sides of the cut.
"""

from __future__ import annotations

import re

Folders = tuple[str, ...]

_LONGEST = 200
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")
_ESCAPES = re.compile(rb"\+([a-z])|%([0-9a-f]{2})")


def place_of(key: str) -> tuple[Folders, str]:
    """The folders and the file of an object. The key has passed ``check_key``."""
    names = folders_of(key)
    return names[:-1], names[-1].removesuffix("=")


def folders_of(prefix: str) -> Folders:
    """The folder below which all keys are that begin with these whole segments (no slash at the end)."""
    return tuple(name for segment in prefix.split("/") for name in _names(segment))


def key_of(folders: Folders, file: str) -> str | None:
    """None for a file that no key has."""
    joined = "".join([*folders, file]).replace("~", "").replace("=", "/")
    try:
        key = _ESCAPES.sub(_original, joined.encode()).decode()
    except UnicodeError:
        return None
    return key if place_of(key) == (folders, file) else None


def _names(segment: str) -> list[str]:
    text = "".join(_escaped(byte) for byte in segment.encode("utf-8", "surrogatepass"))
    pieces = [text[start : start + _LONGEST] for start in range(0, len(text), _LONGEST)]
    last = len(pieces) - 1
    return ["~" * (at > 0) + piece + ("=" if at == last else "~") for at, piece in enumerate(pieces)]


def _escaped(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    return f"+{chr(byte).lower()}" if ord("A") <= byte <= ord("Z") else f"%{byte:02x}"


def _original(escape: re.Match[bytes]) -> bytes:
    capital, code = escape.groups()
    return bytes(capital.upper()) if capital else bytes([int(code, 16)])
