"""What every ``Secrets`` promises (infra/core/secrets.py), asked of each back end."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from infra.core.errors import Invalid, TooLarge
from infra.core.secrets import MAX_SECRET_BYTES, Secrets


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Secrets]:
    from infra.local.secrets import FileSecrets

    yield FileSecrets(folder / "secrets", entropy=os.urandom)


@asynccontextmanager
async def google(_: Path) -> AsyncIterator[Secrets]:
    from infra.gcp.secrets import SecretManagerSecrets
    from tests.world.google_cloud import PROJECT, google_cloud
    from tests.world.google_identity import OWNER

    async with google_cloud() as cloud:
        yield SecretManagerSecrets(project=PROJECT, endpoint=cloud.grpc_endpoint, credentials=cloud.credentials(OWNER))


BACK_ENDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Secrets]]] = {"local": local, "google": google}


@pytest.fixture(params=BACK_ENDS)
async def secrets(request, tmp_path) -> AsyncIterator[Secrets]:
    async with BACK_ENDS[request.param](tmp_path) as store:
        yield store
        await store.close()


async def test_absent_is_none_and_an_empty_history(secrets: Secrets):
    assert await secrets.get("nothing-here") is None
    assert await secrets.versions("nothing-here") == ()


@pytest.mark.parametrize("value", [b"\0", b"s3cret", bytes(range(256)) * 4, b"\n line \r\n", b"x" * MAX_SECRET_BYTES])
async def test_a_value_comes_back_byte_for_byte(secrets: Secrets, value: bytes):
    version = await secrets.put("webhook", value)
    found = await secrets.get("webhook")
    assert found is not None
    assert (found.name, found.version, found.value) == ("webhook", version, value)


async def test_the_value_does_not_show_in_repr(secrets: Secrets):
    await secrets.put("webhook", b"do-not-print-me")
    assert "do-not-print-me" not in repr(await secrets.get("webhook"))


async def test_versions_count_from_one_and_come_newest_first(secrets: Secrets):
    for value in (b"one", b"two", b"three"):
        await secrets.put("webhook", value)
    assert [(s.version, s.value) for s in await secrets.versions("webhook", 10)] == [
        (3, b"three"),
        (2, b"two"),
        (1, b"one"),
    ]
    assert [s.value for s in await secrets.versions("webhook")] == [b"three", b"two"]  # a rotation needs two
    assert await secrets.versions("webhook", 0) == ()


async def test_names_do_not_touch_each_other(secrets: Secrets):
    names = ["a", "A", "a-b", "a_b", "a" * 255, "A" * 255]
    for name in names:
        assert await secrets.put(name, name.encode()) == 1
    await secrets.delete("a")
    found = [await secrets.get(name) for name in names]
    assert [s and s.text for s in found] == [None, *names[1:]]


async def test_concurrent_writers_lose_nothing_and_share_no_number(secrets: Secrets):
    numbers = await asyncio.gather(*(secrets.put("busy", b"%d" % n) for n in range(24)))
    stored = await secrets.versions("busy", 100)
    assert sorted(numbers) == list(range(1, 25))
    assert {s.version: s.value for s in stored} == {number: b"%d" % n for n, number in enumerate(numbers)}


async def test_delete_forgets_all_versions_and_absent_is_fine(secrets: Secrets):
    await secrets.put("gone", b"1")
    await secrets.put("gone", b"2")
    await secrets.delete("gone")
    await secrets.delete("gone")
    assert await secrets.versions("gone") == ()
    await secrets.put("gone", b"3")
    assert [s.value for s in await secrets.versions("gone", 10)] == [b"3"]


async def test_too_large_is_refused_and_nothing_is_kept(secrets: Secrets):
    with pytest.raises(TooLarge):
        await secrets.put("big", b"x" * (MAX_SECRET_BYTES + 1))
    assert await secrets.get("big") is None


async def test_an_empty_value_is_refused(secrets: Secrets):
    with pytest.raises(Invalid):
        await secrets.put("empty", b"")
    assert await secrets.get("empty") is None


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a.b", "1st", "-a", "a" * 256, "é", "a\n", "a\x00"])
async def test_bad_names_are_refused_everywhere(secrets: Secrets, name: str):
    with pytest.raises(Invalid):
        await secrets.get(name)
    with pytest.raises(Invalid):
        await secrets.versions(name)
    with pytest.raises(Invalid):
        await secrets.put(name, b"x")
    with pytest.raises(Invalid):
        await secrets.delete(name)
