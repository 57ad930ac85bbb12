"""The platform's own secrets: given, stored, rotated, and while the store is down."""

import pytest
from google.api_core import exceptions as google

from infra.core.clock import MINUTE, Instant, later
from infra.core.errors import Unavailable
from infra.gcp.secrets import SecretManagerSecrets
from infra.platform_secrets import WEBHOOK_SECRET, PlatformSecrets
from tests.world.google_cloud import PROJECT, google_cloud


class Time:
    now = Instant(1_800_000_000_000)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


@pytest.fixture
async def platform(cloud, clock, monkeypatch):
    monkeypatch.setattr("infra.gcp.secrets.patient", lambda: None)  # an outage is told at once
    store = SecretManagerSecrets(project=PROJECT, endpoint=cloud.grpc_endpoint, credentials=cloud.credentials())
    yield PlatformSecrets(store=store, given={}, clock=clock)
    await store.close()


def down(cloud, times=99):
    cloud.secrets.api.fail("access_secret_version", google.ServiceUnavailable("down"), times=times)


async def test_a_value_is_asked_for_once_in_a_few_minutes(cloud, platform, clock):
    await cloud.put_secret(WEBHOOK_SECRET, b"one")
    for _ in range(5):
        assert await platform.current(WEBHOOK_SECRET) == (b"one",)
    asked = len(cloud.secrets.api.calls)
    assert asked <= 2
    clock.now = later(clock.now, 6 * MINUTE)
    await platform.current(WEBHOOK_SECRET)
    assert len(cloud.secrets.api.calls) > asked


async def test_after_a_rotation_both_values_count(cloud, platform, clock):
    await cloud.put_secret(WEBHOOK_SECRET, b"one")
    await platform.one(WEBHOOK_SECRET)
    await cloud.put_secret(WEBHOOK_SECRET, b"two")
    clock.now = later(clock.now, 6 * MINUTE)
    assert await platform.current(WEBHOOK_SECRET) == (b"two", b"one")


async def test_while_the_store_is_down_known_values_go_on_for_a_while(cloud, platform, clock):
    await cloud.put_secret(WEBHOOK_SECRET, b"one")
    await platform.one(WEBHOOK_SECRET)
    down(cloud)
    clock.now = later(clock.now, 20 * MINUTE)
    assert await platform.one(WEBHOOK_SECRET) == b"one"
    clock.now = later(clock.now, 30 * MINUTE)
    with pytest.raises(Unavailable, match="down"):
        await platform.one(WEBHOOK_SECRET)


async def test_what_was_never_known_is_not_made_up(cloud, platform):
    await cloud.put_secret(WEBHOOK_SECRET, b"one")
    down(cloud, times=1)
    with pytest.raises(Unavailable, match="down"):
        await platform.one(WEBHOOK_SECRET)
    assert await platform.one(WEBHOOK_SECRET) == b"one"


async def test_a_secret_that_is_taken_away_is_gone_when_the_time_is_up(cloud, platform, clock):
    await cloud.put_secret(WEBHOOK_SECRET, b"one")
    await platform.one(WEBHOOK_SECRET)
    del cloud.secrets.kept[WEBHOOK_SECRET]
    clock.now = later(clock.now, 6 * MINUTE)
    with pytest.raises(Unavailable, match="GITHUB_WEBHOOK_SECRET not set"):
        await platform.one(WEBHOOK_SECRET)
