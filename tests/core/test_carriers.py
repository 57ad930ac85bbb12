"""What is packed inside of bytes comes to light, within bounds."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import tarfile
import time
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.carriers import MOST_MEMBERS, NoRoom, Room, carried

CANARY = b"a-canary-that-sings-4711"
ROOM = 10 << 20


def zipped(content: bytes, name: str = "a.txt", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def tarred(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def text(block: bytes) -> bytes:
    return b'value = "' + block + b'"  # end\n'


PACKED = {
    "gzip": gzip.compress, "two gzip": lambda c: gzip.compress(b"first") + gzip.compress(c), "zlib": zlib.compress, "bzip2": bz2.compress, "two bzip2": lambda c: bz2.compress(b"x") + bz2.compress(c),
    "xz": lzma.compress, "zip": zipped, "zip stored": lambda c: zipped(c, method=zipfile.ZIP_STORED), "zip bzip2": lambda c: zipped(c, method=zipfile.ZIP_BZIP2), "zip behind a program": lambda c: b"#!/bin/sh\n" + zipped(c),
    "tar": tarred, "base64": lambda c: text(base64.b64encode(c * 3)), "base64 in lines": lambda c: base64.encodebytes(c * 6), "base64url": lambda c: text(base64.urlsafe_b64encode(c * 3).rstrip(b"=")),
    "hex": lambda c: text((c * 2).hex().encode()), "hex in lines": lambda c: b"\n".join((c * 9).hex().encode()[i : i + 60] for i in range(0, 360, 60)),
    "gzip in base64": lambda c: text(base64.b64encode(gzip.compress(c * 2))), "gzip in hex": lambda c: text(gzip.compress(c * 2).hex().encode()), "gzip in gzip": lambda c: gzip.compress(gzip.compress(c)),
    "gzip in zip": lambda c: zipped(gzip.compress(c)), "base64 in gzip": lambda c: gzip.compress(text(base64.b64encode(c * 3))), "gzip cut": lambda c: gzip.compress(c + bytes(range(256)) * 4)[:-30],
}  # fmt: skip


@pytest.mark.parametrize("packing", PACKED)
def test_what_is_packed_is_found(packing):
    data = PACKED[packing](CANARY)
    assert any(CANARY in content for content in carried(data, Room(ROOM)))


def test_plain_text_carries_nothing():
    assert list(carried(b"def total(x):\n    return sum(x)\n" * 100, Room(ROOM))) == []


def bomb_of_members() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(MOST_MEMBERS + 1):
            archive.writestr(str(number), b"")
    return out.getvalue()


BOMBS = {
    "gzip": lambda: gzip.compress(bytes(200 << 20)), "bzip2": lambda: bz2.compress(bytes(100 << 20)), "xz": lambda: lzma.compress(bytes(100 << 20), preset=0), "zip": lambda: zipped(bytes(100 << 20)),
    "zlib": lambda: zlib.compress(bytes(100 << 20)), "members": bomb_of_members, "base64": lambda: base64.b64encode(bytes(30 << 20)),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_large(bomb):
    data = BOMBS[bomb]()
    started = time.process_time()
    with pytest.raises(NoRoom):
        list(carried(data, Room(ROOM)))
    assert time.process_time() - started < 5


def test_room_is_shared():
    room = Room(30)
    list(carried(gzip.compress(b"x" * 20), room))
    with pytest.raises(NoRoom):
        list(carried(gzip.compress(b"x" * 20), room))


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00", b"PK\x03\x04", b"\x78\x9c", b"PK\x05\x06", b""]),
)
def test_rubbish_does_no_harm(data, head):
    for content in carried(head + data, Room(1 << 20)):
        assert isinstance(content, bytes)
