"""What is particular to secrets in files: the key file, tampering, crashes, several processes."""

import asyncio
import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.core.errors import Unavailable
from infra.core.secrets import Secret
from infra.local.secrets import FileSecrets


def opened(root: Path) -> FileSecrets:
    return FileSecrets(root, entropy=os.urandom)


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "secrets"


def value_file(root: Path, name: str, version: int = 1) -> Path:
    return root / "values" / name / str(version)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def corrupt_error(secrets: FileSecrets, name: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await secrets.get(name)
    assert caught.value.code == "secret_corrupt"
    return caught.value


async def test_only_the_owner_may_read_and_no_byte_of_the_value_is_on_the_disk(root):
    umask = os.umask(0)
    try:
        await opened(root).put("model-key", b"sk-canary-canary-canary")
    finally:
        os.umask(umask)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {mode(path) for path in files} == {0o600}
    assert mode(root) == mode(root / "values") == mode(root / "values" / "model-key") == 0o700
    assert not any(b"canary" in path.read_bytes() for path in files)


async def test_the_same_value_is_never_sealed_alike(root):
    secrets = opened(root)
    await secrets.put("one", b"same")
    await secrets.put("one", b"same")
    first, second = value_file(root, "one", 1).read_bytes(), value_file(root, "one", 2).read_bytes()
    assert first[4:16] != second[4:16]
    assert first[16:] != second[16:]


async def test_another_process_reads_what_this_one_wrote(root):
    await opened(root).put("shared", b"value")
    assert await opened(root).get("shared") == Secret("shared", 1, b"value")


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o660, 0o601])
async def test_a_key_that_others_may_open_is_refused_with_the_command_that_helps(root, wide):
    await opened(root).put("a", b"x")
    (root / "key").chmod(wide)
    with pytest.raises(Unavailable, match="others may open") as caught:
        await opened(root).get("a")
    assert caught.value.code == "secret_key_refused"
    assert caught.value.hint == f"Run: chmod 600 {root / 'key'}"


@pytest.mark.parametrize("length", [0, 1, 31, 33, 100])
async def test_a_half_written_key_is_refused_and_left_alone(root, length):
    root.mkdir()
    (root / "key").write_bytes(b"k" * length)
    (root / "key").chmod(0o600)
    with pytest.raises(Unavailable, match="half-written"):
        await opened(root).put("a", b"x")
    assert (root / "key").stat().st_size == length


async def test_a_link_in_place_of_the_key_is_refused(root, tmp_path):
    root.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"k" * 32)
    (tmp_path / "elsewhere").chmod(0o600)
    (root / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="not a regular file"):
        await opened(root).put("a", b"x")


async def test_a_lost_key_is_not_replaced_in_silence(root):
    await opened(root).put("a", b"x")
    (root / "key").unlink()
    with pytest.raises(Unavailable) as caught:
        await opened(root).put("b", b"y")
    assert caught.value.code == "secret_key_missing"
    assert not (root / "key").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_any_changed_byte_and_any_cut_is_noticed_and_the_others_go_on(tmp_path, data):
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    secrets = opened(root)
    await secrets.put("hurt", b"the value")
    await secrets.put("well", b"fine")
    path = value_file(root, "hurt")
    whole = path.read_bytes()
    if data.draw(st.booleans(), "cut"):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1), "length")])
    else:
        at, bit = data.draw(st.integers(0, len(whole) - 1), "at"), data.draw(st.integers(0, 7), "bit")
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
    error = await corrupt_error(secrets, "hurt")
    assert str(path) in error.hint
    assert "the value" not in f"{error.message} {error.hint}"
    assert await secrets.get("well") == Secret("well", 1, b"fine")


async def test_a_file_under_another_name_or_version_is_not_believed(root):
    secrets = opened(root)
    await secrets.put("a", b"of a")
    await secrets.put("b", b"of b")
    await secrets.put("a", b"second of a")
    value_file(root, "b").write_bytes(value_file(root, "a").read_bytes())
    await corrupt_error(secrets, "b")
    value_file(root, "a", 2).write_bytes(value_file(root, "a", 1).read_bytes())  # a roll-back to the old value
    await corrupt_error(secrets, "a")


async def test_another_key_opens_nothing(root):
    await opened(root).put("a", b"x")
    (root / "key").write_bytes(os.urandom(32))
    await corrupt_error(opened(root), "a")


async def test_links_pipes_and_folders_in_place_of_a_version_neither_hang_nor_open(root, tmp_path):
    secrets = opened(root)
    await secrets.put("a", b"x")
    sealed = tmp_path / "sealed"
    value_file(root, "a").rename(sealed)
    value_file(root, "a").symlink_to(sealed)
    await corrupt_error(secrets, "a")
    value_file(root, "a").unlink()
    os.mkfifo(value_file(root, "a"))
    await corrupt_error(secrets, "a")
    value_file(root, "a").unlink()
    value_file(root, "a").mkdir()
    await corrupt_error(secrets, "a")


async def test_leftovers_of_a_crash_are_invisible_and_a_delete_takes_them_along(root):
    secrets = opened(root)
    await secrets.put("a", b"x")
    (root / "values" / "a" / ".draft-crashed").write_bytes(b"half")
    (root / "values" / ".forgotten-crashed").mkdir()
    (root / "values" / ".forgotten-crashed" / "1").write_bytes(b"old")
    assert len(await secrets.versions("a", 9)) == 1
    await secrets.delete("a")
    assert list((root / "values").iterdir()) == []


async def test_after_the_advice_was_followed_the_secret_works_again(root):
    secrets = opened(root)
    await secrets.put("a", b"old")
    value_file(root, "a").write_bytes(b"damaged")
    await corrupt_error(secrets, "a")
    value_file(root, "a").unlink()
    await secrets.put("a", b"new")
    found = await secrets.get("a")
    assert found is not None
    assert found.value == b"new"


async def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match="could not be used"):
        await opened(tmp_path / "file" / "secrets").put("a", b"x")


async def test_writers_in_several_processes_lose_nothing(root):
    """The first use, with its key, is part of the race."""
    program = (
        "import asyncio, os, pathlib, sys\n"
        "from infra.local.secrets import FileSecrets\n"
        "secrets = FileSecrets(pathlib.Path(sys.argv[1]), entropy=os.urandom)\n"
        "async def write():\n"
        "    await asyncio.gather(*(secrets.put('busy', f'{sys.argv[2]}-{n}'.encode()) for n in range(10)))\n"
        "asyncio.run(write())\n"
    )
    command = [sys.executable, "-c", program, str(root)]
    writers = [await asyncio.create_subprocess_exec(*command, str(n)) for n in range(3)]
    assert [await writer.wait() for writer in writers] == [0, 0, 0]
    stored = await opened(root).versions("busy", 100)
    assert [s.version for s in stored] == list(range(30, 0, -1))
    assert {s.text for s in stored} == {f"{writer}-{n}" for writer in range(3) for n in range(10)}
