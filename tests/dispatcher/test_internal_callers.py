"""Who may call /internal in the cloud: the invoker's service account with Google's token for this very address."""

from dataclasses import replace

import jwt
import pytest

from dispatcher.app import ROUTES, Access
from dispatcher.wiring import _google_check
from tests.world.control_plane import URL, control_plane, unchecked
from tests.world.google_cloud import INVOKER, RUNNER, google_cloud
from tests.world.google_identity import rsa_key

INTERNAL = [rule.path for rule in ROUTES if rule.access is Access.INTERNAL]
FORGED_HEADERS = {
    "x-cloudtasks-queuename": "internal",
    "x-cloudtasks-taskname": "sweep",
    "x-cloudscheduler": "true",
    "x-appengine-queuename": "internal",
    "x-forwarded-for": "127.0.0.1",
}


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


@pytest.fixture
async def plane(tmp_path, cloud):
    async with control_plane(tmp_path) as running:
        settings = unchecked(
            running.services.settings,
            google_certs_url=cloud.endpoints()["GOOGLE_CERTS_URL"],
            invoker_service_account=INVOKER,
        )
        check = _google_check(settings, running.services.clock)
        yield running.with_services(replace(running.services, check_internal=check))


def tokens(cloud):
    identities = cloud.identities
    claims = identities.claims(INVOKER, URL)
    return {
        "wrong audience": identities.identity_token(INVOKER, "https://other.example"),
        "foreign service account": identities.identity_token(RUNNER, URL),
        "HS256": jwt.encode(
            claims, "a shared secret of at least 32 bytes", algorithm="HS256", headers={"kid": "key-0"}
        ),
        "none": jwt.encode(claims, None, algorithm="none"),
        "expired": identities.identity_token(INVOKER, URL, iat=1_000_000_000, exp=1_000_003_600),
        "another's key": jwt.encode(claims, rsa_key(7), algorithm="RS256", headers={"kid": "key-0"}),
        "no signature": identities.identity_token(INVOKER, URL).rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE",
        "an access token": identities.access_token(INVOKER),
        "nothing": "",
    }


@pytest.mark.parametrize("path", INTERNAL)
async def test_whatever_is_wrong_with_the_token_it_is_401(plane, cloud, path):
    for what, token in tokens(cloud).items():
        headers = {**FORGED_HEADERS, **({"authorization": f"Bearer {token}"} if token else {})}
        answer = await plane.http.post(path, content=b"{}", headers=headers)
        assert answer.status_code == 401, (what, answer.text)
        assert token == "" or token not in answer.text


async def test_an_admin_key_is_no_way_in_either(plane):
    assert (await plane.http.post("/internal/sweep", headers=await plane.key())).status_code == 401


async def test_the_invoker_may_sweep(plane, cloud):
    token = cloud.identities.identity_token(INVOKER, URL)
    answer = await plane.http.post("/internal/sweep", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
