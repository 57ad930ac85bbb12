"""Who may hand runs to the runner service in the cloud."""

import time

import httpx
import jwt
import pytest

from infra.core.errors import Unavailable
from infra.settings import RunnerSettings, load
from runner.service import Service, build_app
from runner.wiring import callers
from tests.world.google_cloud import DISPATCHER, INVOKER, google_cloud

URL = "https://runner.example"
NO_TASK = b"not a task at all"


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


def settings(cloud, **changes):
    return load(
        RunnerSettings,
        {
            "PLATFORM": "google",
            "RUNNER_AUDIENCE": URL,
            "INVOKER_SERVICE_ACCOUNT": INVOKER,
            "GOOGLE_CERTS_URL": cloud.endpoints()["GOOGLE_CERTS_URL"],
            **changes,
        },
    )


@pytest.fixture
async def post(cloud):
    """Sends what is no task: 422 means that the caller got as far as the body."""

    async def send(token, **changes):
        chosen = settings(cloud, **changes)
        service = Service(settings=chosen, tools=None, started=time.monotonic(), verify=callers(chosen))
        headers = {"x-cloudtasks-queuename": "runs", "x-cloudtasks-taskname": "run-1"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(service)), base_url=URL) as http:
            answers = [
                await http.post(path, content=NO_TASK, headers=headers)
                for path in ("/process-issue", "/container/process")
            ]
        assert len({answer.status_code for answer in answers}) == 1
        return answers[0]

    return send


async def test_the_invokers_token_gets_as_far_as_the_body(cloud, post):
    assert (await post(cloud.identities.identity_token(INVOKER, URL))).status_code == 422


async def test_everything_else_is_401(cloud, post):
    identities = cloud.identities
    claims = identities.claims(INVOKER, URL)
    removed = identities.identity_token(INVOKER, URL).rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"
    wrong = {
        "nothing": None,
        "another audience": identities.identity_token(INVOKER, "https://dispatcher.example"),
        "another account": identities.identity_token(DISPATCHER, URL),
        "HS256": jwt.encode(
            claims, "a shared secret of at least 32 bytes", algorithm="HS256", headers={"kid": "key-0"}
        ),
        "none": jwt.encode(claims, None, algorithm="none"),
        "expired": identities.identity_token(INVOKER, URL, iat=1_000_000_000, exp=1_000_003_600),
        "no signature, and no check in front": removed,
    }
    for what, token in wrong.items():
        answer = await post(token)
        assert answer.status_code == 401, what
        assert answer.json()["error"]["code"], what


async def test_behind_cloud_runs_own_check_the_signature_is_gone_and_the_claims_still_count(cloud, post):
    def removed(email, audience):
        return cloud.identities.identity_token(email, audience).rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"

    behind = {"INVOKER_IAM_CHECK": "true"}
    assert (await post(removed(INVOKER, URL), **behind)).status_code == 422
    assert (await post(removed(DISPATCHER, URL), **behind)).status_code == 401
    assert (await post(removed(INVOKER, "https://other.example"), **behind)).status_code == 401


async def test_no_keys_means_later_not_never(cloud, post):
    answer = await post(cloud.identities.identity_token(INVOKER, URL), GOOGLE_CERTS_URL="http://127.0.0.1:9/certs")
    assert answer.status_code == 503


@pytest.mark.parametrize("name", ["RUNNER_AUDIENCE", "INVOKER_SERVICE_ACCOUNT"])
async def test_a_service_that_could_not_tell_who_calls_does_not_start(cloud, name):
    with pytest.raises(Unavailable, match=f"{name} not set"):
        callers(settings(cloud, **{name: ""}))
