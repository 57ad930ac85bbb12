"""Keys and signatures: what opens, what does not, and that nothing stored opens anything."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.access import (
    Permission,
    allows,
    content_digest,
    key_id,
    new_api_key,
    sign,
    signing_key,
    verify_api_key,
    verify_signature,
)
from infra.core.clock import MINUTE, Instant, later
from infra.core.errors import Unauthenticated

NOW = Instant(1_763_680_000_000)
KEY = signing_key("a run token")


def test_a_fresh_key_opens_and_its_record_holds_no_part_of_the_secret():
    text, record = new_api_key(name="ci", permission=Permission.EXECUTE, now=NOW, entropy=os.urandom)
    assert verify_api_key(text, record, NOW) is record
    secret = text.split("_")[2]
    assert secret not in repr(record)
    assert key_id(text) == record.id


def test_wrong_revoked_expired_and_unknown_keys_get_the_same_answer():
    text, record = new_api_key(
        name="ci", permission=Permission.READ, now=NOW, entropy=os.urandom, expires_at=later(NOW, 10)
    )
    other, _ = new_api_key(name="ci", permission=Permission.READ, now=NOW, entropy=os.urandom)
    wrong = f"pw_{record.id}_{other.split('_')[2]}"
    cases = [
        (wrong, record, NOW),
        (text, replace(record, revoked_at=NOW), NOW),
        (text, record, later(NOW, 10)),
        (text, None, NOW),
        ("", record, NOW),
        ("pw_x", record, NOW),
        (text + "\n", record, NOW),
        (text.upper(), record, NOW),
    ]
    answers = set()
    for presented, stored, moment in cases:
        with pytest.raises(Unauthenticated) as caught:
            verify_api_key(presented, stored, moment)
        answers.add((caught.value.code, caught.value.message))
    assert len(answers) == 1


def test_permissions_include_the_ones_before_them():
    assert allows(Permission.ADMIN, Permission.READ)
    assert allows(Permission.EXECUTE, Permission.EXECUTE)
    assert not allows(Permission.READ, Permission.EXECUTE)


def signed(**changes):
    call = {
        "timestamp": NOW,
        "nonce": "n" * 24,
        "method": "POST",
        "target": "/api/ingest/event?x=1",
        "body": b"{}",
    } | changes
    return sign(KEY, **call)


def check(signature, key=KEY, now=NOW, **changes):
    call = {
        "timestamp": str(NOW),
        "nonce": "n" * 24,
        "method": "POST",
        "target": "/api/ingest/event?x=1",
        "body": b"{}",
    } | changes
    digest = content_digest(call.pop("body"))
    verify_signature(key, signature, digest=digest, now=now, **call)


def test_a_signature_covers_every_part_of_the_request():
    check(signed())
    for change in (
        {"timestamp": str(NOW + 1)},
        {"nonce": "m" * 24},
        {"method": "GET"},
        {"target": "/api/ingest/event?x=2"},
        {"body": b"{ }"},
        {"key": signing_key("another token")},
        {"key": signing_key("a run token", "a shared secret")},
    ):
        with pytest.raises(Unauthenticated) as caught:
            check(signed(), **change)
        assert caught.value.code == "invalid_signature"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_six_minutes_off_is_named_as_such(minutes):
    with pytest.raises(Unauthenticated) as caught:
        check(signed(), now=later(NOW, minutes * MINUTE))
    assert caught.value.code == "stale_request"


@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=40))
def test_no_text_in_the_headers_breaks_the_check_or_passes_it(signature, timestamp, nonce):
    with pytest.raises(Unauthenticated):
        check(signature, timestamp=timestamp, nonce=nonce)
