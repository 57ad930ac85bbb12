"""Run tokens: the same launch gives the same token, and nothing but the platform's own opens anything."""

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import run_token
from infra.core.clock import SECOND, Instant
from infra.core.errors import Unauthenticated
from infra.core.ids import RunId
from infra.core.run import Limits, Origin, Run, State

NOW = Instant(1_763_680_000_000)


def a_run(launch=1, wall_seconds=1500):
    return Run(
        id=RunId("run-01kahra6004ykkmsv7kvb3xqyd"),
        owner="octo",
        repo="shop",
        installation_id=1,
        ref="main",
        base_sha="a" * 40,
        title="Fix it",
        task="Fix it",
        action="create-pr",
        origin=Origin(kind="workflow_dispatch", actor="key demo"),
        limits=Limits(budget_micros=5_000_000, wall_seconds=wall_seconds, idle_seconds=600, max_turns=100),
        model="claude-opus-5-5",
        state=State.QUEUED,
        created_at=NOW,
        updated_at=NOW,
        launched_at=NOW,
        wake_at=NOW,
        launch=launch,
    )


@given(key=st.binary(min_size=32, max_size=200), launch=st.integers(1, 10**6), wall_seconds=st.integers(30, 10**6))
def test_a_token_is_what_pyjwt_would_have_made(key, launch, wall_seconds):
    run = a_run(launch, wall_seconds)
    token = run_token.mint(key, run)
    claims = jwt.decode(
        token,
        key,
        algorithms=["HS256"],
        audience="pullwright-gateway",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["sub"], claims["launch"], claims["iat"]) == (run.id, launch, NOW // 1000)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert jwt.encode(claims, key, algorithm="HS256", headers={"typ": "JWT"}).split(".")[1:2] == token.split(".")[1:2]
    assert run_token.mint(key, run) == token


def test_it_opens_its_own_run_and_launch_until_it_expires():
    key = b"k" * 64
    token = run_token.mint(key, a_run(launch=3))
    assert run_token.read(key, token, NOW) == run_token.RunClaims(run_id=a_run().id, launch=3)
    expires = jwt.decode(token, options={"verify_signature": False})["exp"] * SECOND
    assert run_token.read(key, token, Instant(expires - 1)).launch == 3
    with pytest.raises(Unauthenticated) as late:
        run_token.read(key, token, Instant(expires))
    assert late.value.code == "expired_run_token"


@given(st.integers(0, 250), st.integers(1, 255))
def test_a_token_that_was_changed_anywhere_opens_nothing(place, change):
    key = b"k" * 64
    token = run_token.mint(key, a_run()).encode()
    place %= len(token)
    forged = token[:place] + bytes([token[place] ^ change]) + token[place + 1 :]
    # the last character of each part carries bits that base64 ignores, so another text may mean the same bytes
    if _meaning(forged) == _meaning(token):
        return
    with pytest.raises(Unauthenticated):
        run_token.read(key, forged.decode("latin-1"), NOW)


def _meaning(token):
    import base64
    import binascii

    try:
        return [base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in token.split(b".")]
    except (binascii.Error, ValueError):
        return None
