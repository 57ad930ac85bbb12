"""What every ``Bucket`` promises (infra/core/bucket.py), asked of each back end."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from infra.core.bucket import MAX_KEY_CHARACTERS, MAX_PIECE_BYTES, Bucket, StoredObject
from infra.core.errors import Invalid, NotFound, TooLarge


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Bucket]:
    from infra.local.bucket import FolderBucket

    yield FolderBucket(folder / "bucket")


@asynccontextmanager
async def google(_: Path) -> AsyncIterator[Bucket]:
    from infra.gcp.buckets import CloudStorageBucket
    from tests.world.google_cloud import BUCKET, PROJECT, google_cloud

    async with google_cloud() as cloud:
        yield CloudStorageBucket(
            project=PROJECT, bucket=BUCKET, endpoint=cloud.http_url, credentials=cloud.credentials()
        )


BACK_ENDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Bucket]]] = {"local": local, "google": google}


@pytest.fixture(params=BACK_ENDS)
async def bucket(request, tmp_path) -> AsyncIterator[Bucket]:
    async with BACK_ENDS[request.param](tmp_path) as opened:
        yield opened
        await opened.close()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(bucket: Bucket, key: str, *chunks: bytes, content_type="text/plain", max_bytes=10**8) -> StoredObject:
    return await bucket.put(key, stream(*chunks), content_type=content_type, max_bytes=max_bytes)


async def read(bucket: Bucket, key: str) -> bytes:
    return b"".join([piece async for piece in bucket.open(key)])


async def test_an_object_comes_back_byte_for_byte_and_described(bucket):
    content = bytes(range(256)) * 5
    stored = await put(bucket, "runs/run-1/claude.log", content[:7], b"", content[7:], content_type="text/x-log")
    digest = hashlib.sha256(content).hexdigest()
    assert stored == StoredObject("runs/run-1/claude.log", len(content), digest, "text/x-log")
    assert await bucket.stat("runs/run-1/claude.log") == stored
    assert await read(bucket, "runs/run-1/claude.log") == content


async def test_an_empty_object_is_an_object(bucket):
    stored = await put(bucket, "empty")
    assert (stored.size, stored.sha256) == (0, hashlib.sha256(b"").hexdigest())
    assert await read(bucket, "empty") == b""
    assert await bucket.list("") == (stored,)


async def test_large_objects_stream_in_bounded_pieces(bucket):
    chunk = bytes(range(256)) * 4096  # 1 MiB
    stored = await put(bucket, "large", *[chunk] * 5, b"end")
    digest, sizes = hashlib.sha256(), []
    async for piece in bucket.open("large"):
        digest.update(piece)
        sizes.append(len(piece))
    assert digest.hexdigest() == stored.sha256
    assert sum(sizes) == stored.size == 5 * 1024 * 1024 + 3
    assert 0 < max(sizes) <= MAX_PIECE_BYTES


async def test_absent_is_none_not_found_and_fine_to_delete(bucket):
    assert await bucket.stat("nothing") is None
    with pytest.raises(NotFound):
        await read(bucket, "nothing")
    await bucket.delete("nothing")
    await bucket.delete("no/such/folder")
    assert await bucket.list("nothing") == ()


async def test_put_replaces_bytes_and_description(bucket):
    await put(bucket, "report", b"the first and longer one", content_type="text/plain")
    second = await put(bucket, "report", b"second", content_type="application/json")
    assert await bucket.stat("report") == second
    assert await read(bucket, "report") == b"second"
    assert await bucket.list("") == (second,)


async def test_a_reader_has_the_whole_old_or_the_whole_new(bucket):
    old, new = b"o" * 3_000_000, b"n" * 2_000_000
    await put(bucket, "report", old)
    reading = aiter(bucket.open("report"))
    first = await anext(reading)
    await put(bucket, "report", new)
    rest = b"".join([piece async for piece in reading])
    assert first + rest == old
    assert await read(bucket, "report") == new


async def test_readers_and_writers_at_once_never_see_a_mixture(bucket):
    values = [bytes([n]) * (100_000 + n) for n in range(8)]
    await put(bucket, "busy", values[0])

    async def look():
        for _ in range(10):
            assert await read(bucket, "busy") in values
            found = await bucket.stat("busy")
            assert found is not None
            assert (found.size, found.sha256) in {(len(v), hashlib.sha256(v).hexdigest()) for v in values}

    await asyncio.gather(look(), look(), *(put(bucket, "busy", value) for value in values))


async def test_over_the_limit_nothing_is_kept(bucket):
    await put(bucket, "kept", b"before")
    with pytest.raises(TooLarge):
        await put(bucket, "kept", b"x" * 600_000, b"x" * 600_000, max_bytes=1_000_000)
    with pytest.raises(TooLarge):
        await put(bucket, "new", b"12345", max_bytes=4)
    assert await read(bucket, "kept") == b"before"
    assert await bucket.stat("new") is None
    assert (await put(bucket, "exact", b"1234", max_bytes=4)).size == 4


async def test_a_source_that_fails_leaves_nothing(bucket):
    async def failing():
        yield b"x" * 600_000
        raise ConnectionResetError("the sender is gone")

    with pytest.raises(ConnectionResetError):
        await bucket.put("partial", failing(), content_type="text/plain", max_bytes=10**7)
    assert await bucket.stat("partial") is None
    assert await bucket.list("") == ()


async def test_a_cancelled_put_leaves_nothing(bucket):
    started = asyncio.Event()

    async def endless():
        while True:
            yield b"x" * 300_000
            started.set()

    writing = asyncio.create_task(bucket.put("endless", endless(), content_type="text/plain", max_bytes=10**12))
    await started.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await bucket.list("") == ()


async def test_delete_takes_one_and_only_one(bucket):
    for key in ("a", "a/b", "a/b/c", "ab"):
        await put(bucket, key, key.encode())
    await bucket.delete("a/b")
    assert [o.key for o in await bucket.list("")] == ["a", "a/b/c", "ab"]
    assert await bucket.stat("a/b") is None
    await put(bucket, "a/b", b"again")
    assert await read(bucket, "a/b") == b"again"


async def test_a_list_is_in_key_order_by_prefix_and_bounded(bucket):
    keys = ["a", "a-b", "a.b", "a/", "a/b", "a/c/d", "a0", "B", "b", "runs/1/x", "runs/10/x", "runs/2/x", "z~", "é"]
    keys.remove("a/")  # not a key
    for key in reversed(keys):
        await put(bucket, key, b"x")
    assert [o.key for o in await bucket.list("")] == sorted(keys)
    assert [o.key for o in await bucket.list("", limit=3)] == sorted(keys)[:3]
    assert await bucket.list("", limit=0) == ()
    for prefix in ("a", "a/", "a/c", "runs/1", "runs/1/", "runs/3", "r", "é", "b/", "/", "..", "a//"):
        assert [o.key for o in await bucket.list(prefix)] == [key for key in sorted(keys) if key.startswith(prefix)]


KEYS = ["UPPER/Lower.TXT", "upper/lower.txt", "with blank", "a" * 512, "/".join("ab" * 128)[:511], "…/日本語/ß.txt"]
KEYS += [
    "...",
    "..a",
    "a..",
    ".hidden",
    "-dash",
    "a%2fb",
    "a+b=c~d",
    "%",
    "CON",
    "a\\b",
    "*?\"<>|:'",
    "é" * 512,
    "a" * 200 + "..",
]


async def test_unusual_keys_stay_apart(bucket):
    for key in KEYS:
        await put(bucket, key, key.encode())
    for key in KEYS:
        assert await read(bucket, key) == key.encode()
        assert [o.key for o in await bucket.list(key, limit=1)] == [key]
    assert [o.key for o in await bucket.list("")] == sorted(KEYS)


BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/..",
    "a/../b",
    "a/./b",
    "a\x00b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
]
BAD_KEYS += ["a" * (MAX_KEY_CHARACTERS + 1), "日" * 400, "a\u202eb", "a\u200bb", "a\u2028b", "\ud800", "a\U000e0041"]


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
async def test_bad_keys_are_refused_everywhere(bucket, key):
    with pytest.raises(Invalid):
        await put(bucket, key, b"x")
    with pytest.raises(Invalid):
        await bucket.stat(key)
    with pytest.raises(Invalid):
        await read(bucket, key)
    with pytest.raises(Invalid):
        await bucket.delete(key)


@pytest.mark.parametrize(
    "content_type", ["", "text", "text/", "/plain", "text/plain\r\nX: y", "text/plain; " + "a" * 999]
)
async def test_bad_content_types_are_refused(bucket, content_type):
    with pytest.raises(Invalid):
        await put(bucket, "a", b"x", content_type=content_type)


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/vnd.api+json", "text/x-diff;a=b"])
async def test_good_content_types_come_back(bucket, content_type):
    assert (await put(bucket, "a", b"x", content_type=content_type)).content_type == content_type
