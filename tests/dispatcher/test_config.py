"""The App's credentials over HTTP: parsed before they are kept, shown as fingerprints, cleared, used at once."""

import pytest

from infra.core.access import Permission
from infra.platform_secrets import APP_PRIVATE_KEY
from tests.world.control_plane import control_plane
from tests.world.forge import APP_ID, key_pair

GIVEN = {
    "appId": str(APP_ID),
    "privateKey": key_pair().private,
    "webhookSecret": "a secret of some length",
    "installationId": 7,
}


@pytest.fixture
async def plane(tmp_path):
    async with control_plane(tmp_path, github_app_id="") as running:
        yield running


async def call(plane, method, json=None, permission=Permission.ADMIN):
    return await plane.http.request(method, "/config", json=json, headers=await plane.key(permission))


async def test_what_was_stored_is_shown_without_a_secret_and_works_at_once(plane):
    assert (await call(plane, "DELETE")).json()["complete"] is False
    stored = await call(plane, "POST", GIVEN)
    assert stored.status_code == 200, stored.text
    shown = await call(plane, "GET")
    assert shown.json() == stored.json()
    assert shown.headers["cache-control"] == "no-store"
    view = shown.json()
    assert view["appId"] == {"set": True, "source": "store", "value": str(APP_ID)}
    assert view["installationId"] == 7
    assert view["privateKey"]["fingerprint"].startswith("SHA256:")
    assert view["webhookSecret"]["fingerprint"].startswith("sha256:")
    assert "PRIVATE KEY" not in shown.text
    assert "a secret of some length" not in shown.text
    assert (await plane.dispatch()).status_code == 202


async def test_other_credentials_take_the_place_of_the_first(plane):
    await call(plane, "POST", GIVEN)
    first = await plane.services.forge()
    await call(plane, "POST", {**GIVEN, "privateKey": key_pair("another").private})
    second = await plane.services.forge()
    assert second is not first
    assert await plane.services.forge() is second


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"privateKey": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"}, "invalid_private_key"),
        ({"privateKey": key_pair().public}, "invalid_private_key"),
        ({"appId": "my app"}, "invalid_app_id"),
        ({"webhookSecret": "short"}, "invalid_body"),
        ({"more": 1}, "invalid_body"),
    ],
)
async def test_what_cannot_work_is_refused_and_nothing_is_kept(plane, change, code):
    before = await plane.services.secrets.get(APP_PRIVATE_KEY)
    answer = await call(plane, "POST", {**GIVEN, **change})
    assert answer.status_code in {400, 422}
    assert answer.json()["error"]["code"] == code
    assert await plane.services.secrets.get(APP_PRIVATE_KEY) == before
    assert key_pair().private[40:80] not in answer.text


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_only_admins(plane, method):
    assert (await call(plane, method, GIVEN, Permission.EXECUTE)).status_code == 403


async def test_what_the_environment_says_is_not_overwritten(tmp_path):
    async with control_plane(tmp_path) as plane:
        view = (await call(plane, "GET")).json()
        assert view["appId"]["source"] == "environment"
        answer = await call(plane, "POST", GIVEN)
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "set_by_environment"
        assert (await call(plane, "DELETE")).status_code == 409
