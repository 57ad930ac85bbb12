"""Google's identity tokens, verified with real keys over a real socket: who gets in, and in how many ways one does not."""

import time

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.core.clock import HOUR, MINUTE, Instant, later
from infra.core.errors import Unauthenticated, Unavailable
from infra.gcp.identity import GoogleCallers, GoogleKeys
from infra.gcp.metadata import Metadata
from tests.world.google_cloud import DISPATCHER, INVOKER, RUNNER, google_cloud
from tests.world.google_identity import rsa_key

AUDIENCE = "https://dispatcher.example"


class Time:
    def __init__(self):
        self.now = Instant(time.time_ns() // 1_000_000)

    def __call__(self):
        return self.now

    def pass_by(self, milliseconds):
        self.now = later(self.now, milliseconds)


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
async def cloud():
    async with google_cloud() as running:
        yield running


@pytest.fixture
def keys(cloud, clock):
    return GoogleKeys(clock=clock, certs_url=cloud.endpoints()["GOOGLE_CERTS_URL"])


@pytest.fixture
def callers(keys, clock):
    return GoogleCallers(keys=keys, audience=AUDIENCE, emails=frozenset({INVOKER}), clock=clock)


async def refusal(callers, token):
    with pytest.raises(Unauthenticated) as caught:
        await callers.verify(token)
    return caught.value.code


async def test_the_invokers_token_is_accepted(cloud, callers):
    assert await callers.verify(cloud.identities.identity_token(INVOKER, AUDIENCE)) == INVOKER


WRONG = {
    "somebody else's audience": ({"aud": "https://other.example"}, "wrong_audience"),
    "an audience that only begins like ours": ({"aud": AUDIENCE + ".evil.example"}, "wrong_audience"),
    "a list of audiences": ({"aud": [AUDIENCE]}, "wrong_audience"),
    "a foreign service account": ({"email": RUNNER}, "foreign_account"),
    "an address that nobody verified": ({"email_verified": False}, "foreign_account"),
    "an address that is said to be verified": ({"email_verified": "true"}, "foreign_account"),
    "no address": ({"email": None}, "invalid_identity_token"),
    "another issuer": ({"iss": "https://accounts.google.com.evil.example"}, "foreign_issuer"),
    "a token that has ended": ({"iat": 1_000_000_000, "exp": 1_000_003_600}, "expired_identity_token"),
    "a token without an end": ({"exp": None}, "invalid_identity_token"),
    "an end that is no number": ({"exp": "soon"}, "invalid_identity_token"),
    "a token from tomorrow": ({"iat": 4_000_000_000, "exp": 4_000_003_600}, "invalid_identity_token"),
}


@pytest.mark.parametrize(("changes", "code"), WRONG.values(), ids=WRONG)
async def test_a_token_with_a_wrong_claim_is_refused(cloud, callers, changes, code):
    claims = {"email": INVOKER, "audience": AUDIENCE, **{k: v for k, v in changes.items() if k not in {"aud", "email"}}}
    email = changes.get("email", INVOKER)
    audience = changes.get("aud", AUDIENCE)
    del claims["email"], claims["audience"]
    assert await refusal(callers, cloud.identities.identity_token(email, audience, **claims)) == code


async def test_what_is_not_rs256_by_google_is_refused(cloud, callers):
    claims = cloud.identities.claims(INVOKER, AUDIENCE)
    headers = {"kid": "key-0"}
    public = cloud.identities.jwks()["keys"][0]["n"]
    forged = [
        jwt.encode(claims, None, algorithm="none", headers=headers),
        jwt.encode(claims, public, algorithm="HS256", headers=headers),  # the public key as a shared secret
        jwt.encode(claims, rsa_key(7), algorithm="RS384", headers=headers),
        jwt.encode(claims, rsa_key(7), algorithm="RS256", headers=headers),  # somebody else's key under Google's name
        "",
        "a.b.c",
        "x" * 9000,
        cloud.identities.identity_token(INVOKER, AUDIENCE)[:-4] + "AAAA",
    ]
    for token in forged:
        assert await refusal(callers, token) == "invalid_identity_token", token[:40]
    assert (
        await refusal(callers, jwt.encode(claims, rsa_key(7), algorithm="RS256", headers={"kid": "x"})) == "unknown_key"
    )


async def test_a_changed_payload_is_refused(cloud, callers):
    head, _, signature = cloud.identities.identity_token(RUNNER, AUDIENCE).split(".")
    _, body, _ = cloud.identities.identity_token(INVOKER, AUDIENCE).split(".")
    assert await refusal(callers, f"{head}.{body}.{signature}") == "invalid_identity_token"


async def test_a_removed_signature_counts_only_behind_the_invoker_check(cloud, keys, callers, clock):
    def removed(email, **changes):
        token = cloud.identities.identity_token(email, AUDIENCE, **changes)
        return token.rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"

    assert await refusal(callers, removed(INVOKER)) == "signature_removed"
    behind = GoogleCallers(
        keys=keys, audience=AUDIENCE, emails=frozenset({INVOKER}), clock=clock, behind_invoker_check=True
    )
    assert await behind.verify(removed(INVOKER)) == INVOKER
    assert await refusal(behind, removed(RUNNER)) == "foreign_account"
    assert await refusal(behind, removed(INVOKER, iat=1, exp=2)) == "expired_identity_token"
    # a signed token is still verified: the check in front may be off after all
    assert await behind.verify(cloud.identities.identity_token(INVOKER, AUDIENCE)) == INVOKER
    forged = jwt.encode(
        cloud.identities.claims(INVOKER, AUDIENCE), rsa_key(7), algorithm="RS256", headers={"kid": "key-0"}
    )
    assert await refusal(behind, forged) == "invalid_identity_token"


async def test_keys_are_asked_for_once_an_hour_and_when_google_changes_them(cloud, callers, clock):
    for _ in range(5):
        await callers.verify(cloud.identities.identity_token(INVOKER, AUDIENCE))
    assert cloud.key_requests == 1
    cloud.identities.rotate()
    clock.pass_by(2 * MINUTE)
    await callers.verify(cloud.identities.identity_token(INVOKER, AUDIENCE))
    assert cloud.key_requests == 2
    await callers.verify(cloud.identities.identity_token(INVOKER, AUDIENCE, key=0))  # issued before the change
    clock.pass_by(HOUR)
    await callers.verify(
        cloud.identities.identity_token(INVOKER, AUDIENCE, iat=clock() // 1000, exp=clock() // 1000 + 60)
    )
    assert cloud.key_requests == 3


async def test_tokens_with_made_up_keys_do_not_make_us_ask_google_each_time(cloud, callers, clock):
    claims = cloud.identities.claims(INVOKER, AUDIENCE)
    for number in range(20):
        forged = jwt.encode(claims, rsa_key(7), algorithm="RS256", headers={"kid": f"made-up-{number}"})
        assert await refusal(callers, forged) == "unknown_key"
    assert cloud.key_requests == 1


async def test_known_keys_outlive_an_outage_and_without_any_nobody_gets_in(cloud, callers, keys, clock):
    token = cloud.identities.identity_token(INVOKER, AUDIENCE)
    await callers.verify(token)
    keys.certs_url = "http://127.0.0.1:9/certs"
    clock.pass_by(50 * MINUTE)
    await callers.verify(token)
    unknown = GoogleKeys(clock=clock, certs_url="http://127.0.0.1:9/certs")
    nobody = GoogleCallers(keys=unknown, audience=AUDIENCE, emails=frozenset({INVOKER}), clock=clock)
    with pytest.raises(Unavailable):
        await nobody.verify(token)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
async def test_no_text_at_all_breaks_the_check(callers, text):
    with pytest.raises(Unauthenticated):
        await callers.verify(text)


async def test_the_metadata_server_gives_tokens_for_this_program(cloud, clock):
    metadata = Metadata(clock=clock, host=cloud.http_host)
    token = await metadata.identity_token(AUDIENCE)
    keys = GoogleKeys(clock=clock, certs_url=cloud.endpoints()["GOOGLE_CERTS_URL"])
    dispatcher = GoogleCallers(keys=keys, audience=AUDIENCE, emails=frozenset({DISPATCHER}), clock=clock)
    assert await dispatcher.verify(token) == await metadata.email() == DISPATCHER
    first = await metadata.access_token()
    assert await metadata.access_token() == first
    assert first.value not in repr(first)
    clock.pass_by(56 * MINUTE)
    assert await metadata.access_token() != first
    cloud.metadata_down = True
    with pytest.raises(Unavailable, match="metadata server"):
        await metadata.email()
    await metadata.close()
