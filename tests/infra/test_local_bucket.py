"""What is particular to a bucket in a folder: links, damage, crashes, names of files."""

import asyncio
import os
import stat
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.bucket import StoredObject, check_key
from infra.core.errors import Forbidden, Invalid, PullwrightError, TooLarge, Unavailable
from infra.local.bucket import FolderBucket
from infra.local.bucket_names import key_of, place_of


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def bucket(root) -> FolderBucket:
    return FolderBucket(root)


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(bucket: FolderBucket, key: str, content: bytes) -> StoredObject:
    return await bucket.put(key, stream(content), content_type="text/plain", max_bytes=10**8)


async def read(bucket: FolderBucket, key: str) -> bytes:
    return b"".join([piece async for piece in bucket.open(key)])


def file_of(root: Path, key: str) -> Path:
    folders, name = place_of(key)
    return root.joinpath("objects", *folders, name)


async def assert_corrupt(bucket: FolderBucket, key: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await read(bucket, key)
    assert caught.value.code == "object_corrupt"


# Names


def is_key(text: str) -> bool:
    try:
        return check_key(text) == text
    except Invalid:
        return False


KEYS = st.text(st.sampled_from("aA./-_+%=~é\U0001f600 b"), min_size=1, max_size=300).filter(is_key)


@given(KEYS)
def test_every_key_has_a_place_of_its_own_that_no_file_system_confuses(key):
    folders, name = place_of(key)
    assert key_of(folders, name) == key
    for part in (*folders, name):
        assert part not in {"", ".", ".."}
        assert len(part) <= 202
        assert part == part.lower()
        assert part.isascii()
        assert "/" not in part


@given(KEYS, KEYS)
def test_an_object_never_stands_where_another_needs_a_folder(one, other):
    def path(key):
        folders, name = place_of(key)
        return (*folders, name)

    if one != other:
        assert path(one) != path(other)
        assert path(one) != path(other)[: len(path(one))]


@pytest.mark.parametrize("stray", ["README.md", "%zz", "%C3", "a=b", "a~", "+1", "%ff", "%61"])
def test_files_that_no_key_has_are_no_objects(stray):
    assert key_of((), stray) is None


# Links and other strange things in the tree


async def test_a_link_in_place_of_an_object_is_not_followed(bucket, root, tmp_path):
    await put(bucket, "runs/log", b"mine")
    target = tmp_path / "elsewhere"
    file_of(root, "runs/log").rename(target)
    file_of(root, "runs/log").symlink_to(target)
    await assert_corrupt(bucket, "runs/log")
    assert await bucket.list("") == ()
    stored = await put(bucket, "runs/log", b"new")  # replaces the link, not what it points to
    assert b"mine" in target.read_bytes()
    assert await bucket.stat("runs/log") == stored
    await bucket.delete("runs/log")
    assert target.exists()


async def test_a_link_in_place_of_a_folder_is_not_followed(bucket, root, tmp_path):
    await put(bucket, "runs/log", b"mine")
    outside = tmp_path / "outside"
    (root / "objects" / "runs=").rename(outside)
    (root / "objects" / "runs=").symlink_to(outside)
    await assert_corrupt(bucket, "runs/log")
    assert await bucket.list("") == await bucket.list("runs/") == ()
    for act in (put(bucket, "runs/other", b"x"), bucket.delete("runs/log")):
        with pytest.raises(PullwrightError):
            await act
    assert [p.name for p in outside.iterdir()] == ["log"]


async def test_pipes_and_folders_in_place_of_an_object_do_not_hang(bucket, root):
    await put(bucket, "a", b"x")
    file_of(root, "a").unlink()
    os.mkfifo(file_of(root, "a"))
    async with asyncio.timeout(5):
        await assert_corrupt(bucket, "a")
        assert await bucket.list("") == ()
    file_of(root, "a").unlink()
    file_of(root, "a").mkdir()
    await assert_corrupt(bucket, "a")


# Damage


@pytest.mark.parametrize("keep", [0, 1, 10, 100, -1, -5, -9])
async def test_a_file_cut_short_is_noticed_and_the_others_go_on(bucket, root, keep):
    await put(bucket, "hurt", b"content " * 50)
    well = await put(bucket, "well", b"fine")
    path = file_of(root, "hurt")
    path.write_bytes(path.read_bytes()[:keep])
    await assert_corrupt(bucket, "hurt")
    assert await bucket.list("") == (well,)
    await bucket.delete("hurt")
    assert await bucket.stat("hurt") is None


async def test_changed_bytes_show_at_the_end_of_reading(bucket, root):
    await put(bucket, "hurt", b"x" * 600_000)
    path = file_of(root, "hurt")
    with path.open("r+b") as file:
        file.seek(300_000)
        file.write(b"y")
    reading = bucket.open("hurt")
    assert await anext(reading)  # how much is wrong is not known yet
    await assert_corrupt(bucket, "hurt")
    await reading.aclose()


async def test_a_file_under_another_key_is_not_believed(bucket, root):
    await put(bucket, "one", b"of one")
    await put(bucket, "two", b"of two")
    file_of(root, "two").write_bytes(file_of(root, "one").read_bytes())
    await assert_corrupt(bucket, "two")


async def test_content_that_looks_like_a_description_is_content(bucket, root):
    await put(bucket, "first", b"x")
    tail = file_of(root, "first").read_bytes()
    await put(bucket, "second", tail)
    assert await read(bucket, "second") == tail


# Crashes


async def test_leftovers_are_invisible_and_the_next_start_removes_them(root):
    await put(FolderBucket(root), "a", b"x")
    leftover = root / "incoming" / "draft-of-the-dead"
    leftover.write_bytes(b"half")
    bucket = FolderBucket(root)
    assert [o.key for o in await bucket.list("")] == ["a"]
    await put(bucket, "b", b"y")
    assert not leftover.exists()


async def test_nothing_is_left_of_a_put_that_failed(bucket, root):
    with pytest.raises(TooLarge):
        await bucket.put("big", stream(b"x" * 400_000, b"x" * 400_000), content_type="text/plain", max_bytes=500_000)
    assert list((root / "incoming").iterdir()) == []


async def test_what_a_living_writer_is_at_is_not_swept(root):
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow():
        yield b"x" * 300_000
        begun.set()
        await gate.wait()
        yield b"end"

    writing = asyncio.create_task(FolderBucket(root).put("slow", slow(), content_type="text/plain", max_bytes=10**7))
    await begun.wait()
    await put(FolderBucket(root), "other", b"x")  # sweeps
    gate.set()
    assert (await writing).size == 300_003
    assert list((root / "incoming").iterdir()) == []


async def test_sigkill_in_the_middle_of_a_replacement_leaves_the_old_object(root):
    bucket = FolderBucket(root)
    old = await put(bucket, "report", b"old")
    program = (
        "import asyncio, pathlib, sys\n"
        "from infra.local.bucket import FolderBucket\n"
        "async def endless():\n"
        "    while True:\n"
        "        yield b'x' * 300_000\n"
        "        print('.', flush=True)\n"
        "        await asyncio.sleep(0.01)\n"
        "bucket = FolderBucket(pathlib.Path(sys.argv[1]))\n"
        "asyncio.run(bucket.put('report', endless(), content_type='text/plain', max_bytes=10**12))\n"
    )
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(root), stdout=PIPE)
    assert writer.stdout is not None
    for _ in range(3):
        assert await writer.stdout.readline() == b".\n"
    writer.kill()
    await writer.communicate()
    assert len(list((root / "incoming").iterdir())) == 1
    assert await bucket.list("") == (old,)
    assert await read(bucket, "report") == b"old"
    await put(FolderBucket(root), "next", b"x")
    assert list((root / "incoming").iterdir()) == []


# The folder


async def test_only_the_owner_may_read(bucket, root):
    umask = os.umask(0)
    try:
        await put(bucket, "runs/run-1/log", b"x")
    finally:
        os.umask(umask)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


async def test_a_person_can_read_a_stored_log(bucket, root):
    await put(bucket, "runs/run-1/claude.log", b"first line\nsecond line\n")
    path = root / "objects" / "runs=" / "run-1=" / "claude.log"
    assert path.read_bytes().startswith(b"first line\nsecond line\n")


async def test_empty_folders_do_not_pile_up_and_puts_survive_their_going(bucket, root):
    async def again_and_again(name):
        for _ in range(25):
            await put(bucket, f"a/b/{name}", b"x")
            await bucket.delete(f"a/b/{name}")

    await asyncio.gather(*(again_and_again(str(n)) for n in range(4)))
    assert list((root / "objects").iterdir()) == []


def open_files() -> list[str]:
    """The descriptors of this process, where the system lists them."""
    listed = Path("/proc/self/fd")
    return sorted(entry.name for entry in listed.iterdir()) if listed.is_dir() else []


async def test_a_reader_that_walks_away_leaves_no_open_file(bucket):
    await put(bucket, "a", b"x" * 3_000_000)
    before = open_files()
    for _ in range(5):
        reading = bucket.open("a")
        await anext(reading)
        await reading.aclose()
    assert open_files() == before


async def test_the_event_loop_never_waits_for_the_disk(bucket, monkeypatch):
    """A disk that takes its time must not stop other work: every call to the system comes from another thread."""
    loop_thread, offences = threading.get_ident(), []

    def watched(name):
        original = getattr(os, name)

        def call(*args, **kwargs):
            if threading.get_ident() == loop_thread:
                offences.append(name)
            return original(*args, **kwargs)

        return call

    for name in ("open", "read", "write", "fsync", "rename", "unlink", "mkdir", "rmdir", "close"):
        monkeypatch.setattr(os, name, watched(name))
    await put(bucket, "a/b", b"x" * 600_000)
    await bucket.stat("a/b")
    await bucket.list("a")
    await read(bucket, "a/b")
    await bucket.delete("a/b")
    assert offences == []


async def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match="could not be used"):
        await put(FolderBucket(tmp_path / "file" / "bucket"), "a", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
async def test_a_folder_of_somebody_else_is_a_sentence(bucket, root):
    await put(bucket, "a", b"x")
    (root / "objects").chmod(0)
    try:
        with pytest.raises(Forbidden, match="may not be used"):
            await read(bucket, "a")
    finally:
        (root / "objects").chmod(0o700)
