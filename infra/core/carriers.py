"""What bytes carry inside: one or two layers of packing taken off, with a bound on everything. Pure, standard library only.

A secret that is masked everywhere in plain text is invisible in a gzip file; this makes it visible to a search again. Known
are gzip, zlib, bzip2, xz, zip members, and blocks of base64 and hexadecimal digits in text. ``NOT_UNPACKED`` says what is not.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LAYERS = 2
"""A base64 block that holds a gzip file is two."""

MOST_MEMBERS = 2_000

NOT_UNPACKED: tuple[str, ...] = (
    "archives with a password, and more than two layers of packing",
    "zstd, brotli, 7z, rar; compressed parts inside of images, PDF, fonts and office formats other than zip-based ones",
    "base32, base58, base85 and other alphabets; encryption, XOR, steganography",
)

_MEMORY = 64 << 20
_PIECE = 1 << 20
_ERRORS = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError)
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]{32,}+\r?\n[ \t]*+)*[A-Za-z0-9+/_-]{16,}+={0,2}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{32,}+\r?\n)*[0-9A-Fa-f]{16,}+")
_SHORTEST_BLOCK = 48
_RUN = b"\1" * 32
_ZLIB = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")  # RFC 1950, without "x^", which begins texts as well
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANK = b" \t\r\n"


def _alphabet(letters: bytes) -> bytes:
    return bytes(1 if byte in letters else 0 for byte in range(256))


_HEX_DIGITS = _alphabet(b"0123456789abcdefABCDEF")
_BASE64_DIGITS = _alphabet(bytes(byte for byte in range(128) if chr(byte).isalnum()) + b"+/_-")


class NoRoom(Exception):
    """There is more inside than may be unpacked; what came before has been seen."""


@dataclass(slots=True)
class Room:
    """Bytes that may still be unpacked, over all files of a change."""

    left: int

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise NoRoom


def carried(data: bytes, room: Room, layers: int = LAYERS) -> Iterator[bytes]:
    """Everything found inside of ``data``, each layer's content as it is. Raises ``NoRoom``.

    What is damaged is given as far as it can be read: whoever unpacks it later may be more patient.
    """
    if layers == 0:
        return
    for content in _inside(data, room):
        yield content
        yield from carried(content, room, layers - 1)


def _inside(data: bytes, room: Room) -> Iterator[bytes]:
    if data.startswith(b"\x1f\x8b"):
        yield _inflated(data, lambda: zlib.decompressobj(31), room)
    elif data.startswith(_ZLIB):
        yield _inflated(data, zlib.decompressobj, room)
    elif data.startswith(b"BZh"):
        yield _expanded(data, bz2.BZ2Decompressor, room)
    elif data.startswith(b"\xfd7zXZ\x00"):
        yield _expanded(data, lambda: lzma.LZMADecompressor(memlimit=_MEMORY), room)
    elif b"PK\x05\x06" in data[-65_557:]:  # the end record, with the longest comment there can be
        yield from _members(data, room)
    else:
        yield from _blocks(data, room)


def _inflated(data: bytes, make: Callable[[], zlib._Decompress], room: Room) -> bytes:
    out = bytearray()
    try:
        while data:
            machine = make()
            while data and not machine.eof:
                piece = machine.decompress(data, _PIECE)
                room.take(len(piece))
                out += piece
                data = machine.unconsumed_tail
                if not piece and not data:
                    break
            data = machine.unused_data  # a gzip file may be several in a row
    except _ERRORS:
        pass
    return bytes(out)


def _expanded(data: bytes, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor], room: Room) -> bytes:
    out = bytearray()
    try:
        while data:
            machine = make()
            piece = machine.decompress(data, _PIECE)
            while piece or not machine.needs_input:
                room.take(len(piece))
                out += piece
                if machine.eof:
                    break
                piece = machine.decompress(b"", _PIECE)
            data = machine.unused_data if machine.eof else b""
    except _ERRORS:
        pass
    return bytes(out)


def _members(data: bytes, room: Room) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise NoRoom
            for member in members:
                if not member.flag_bits & 1:  # encrypted
                    yield _member(archive, member, room)
    except (zipfile.BadZipFile, NotImplementedError, *_ERRORS):
        return


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, room: Room) -> bytes:
    out = bytearray()
    try:
        with archive.open(member) as file:
            while piece := file.read(_PIECE):
                room.take(len(piece))
                out += piece
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *_ERRORS):
        pass
    return bytes(out)


def _blocks(data: bytes, room: Room) -> Iterator[bytes]:
    for block in _runs(data, _HEX, _HEX_DIGITS):
        digits = block.translate(None, _BLANK)
        if len(digits) >= _SHORTEST_BLOCK:
            room.take(len(digits) // 2)
            yield bytes.fromhex(digits[: len(digits) & ~1].decode())
    for block in _runs(data, _BASE64, _BASE64_DIGITS):
        digits = block.translate(_URL_SAFE, _BLANK).rstrip(b"=")
        if len(digits) < _SHORTEST_BLOCK:
            continue
        digits = digits[:-1] if len(digits) % 4 == 1 else digits
        room.take(len(digits) * 3 // 4)
        try:
            yield base64.b64decode(digits + b"=" * (-len(digits) % 4))
        except binascii.Error:
            continue


def _runs(data: bytes, pattern: re.Pattern[bytes], alphabet: bytes) -> Iterator[bytes]:
    """What ``pattern`` finds, tried only where so long a run of its alphabet begins: ten times as fast as searching."""
    classes = data.translate(alphabet)
    place = classes.find(_RUN)
    while place >= 0:
        found = pattern.match(data, place)
        if found is not None:
            yield found[0]
        place = classes.find(_RUN, found.end() if found else place + len(_RUN))
