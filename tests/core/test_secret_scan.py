"""Secrets in what would be published: registered ones in every encoding, others by their looks, and no word too much."""

from __future__ import annotations

import base64
import gzip
import random
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.core.carriers import NoRoom, Room
from infra.core.encodings import ENCODINGS
from infra.core.redaction import Redactor
from infra.core.secret_scan import Finding, Located, Scanner, blocked_by

VALUE = "ghs_42_eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0MiJ9.Zm9vYmFy-k_9xQ2"
SCANNER = Scanner(Redactor([VALUE], patterns=False))
NOBODY = Scanner(Redactor(patterns=False))


def scan(content: str | bytes, base: str | bytes = b"", scanner: Scanner = SCANNER):
    data, before = (part.encode() if isinstance(part, str) else part for part in (content, base))
    return scanner.file(data, before, Room(10 << 20))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_a_registered_value_is_found_in_every_encoding_with_its_line(encoding):
    for form in encoding.forms(VALUE):
        (first, *_) = scan(f"one\ntwo\nx = '{form}'\nfour\n")
        assert (first.line, first.rule) == (3, ""), form
        assert scan(f"\0binary {form} \0") == (Finding(line=0),)


def test_a_value_over_several_lines_and_many_places():
    found = scan("\n".join(["a", VALUE[:30], VALUE[30:], "b", VALUE]))
    assert {finding.line for finding in found} >= {2, 5}
    assert len(scan(f"{VALUE}\n" * 500)) == 10


def test_in_packed_and_foreign_bytes():
    assert scan(gzip.compress(VALUE.encode())) == (Finding(line=0),)
    assert scan(f"x = {base64.b64encode(gzip.compress(VALUE.encode())).decode()}\n") == (Finding(line=0),)
    assert scan(VALUE.encode("utf-16")) == (Finding(line=0),)
    assert scan(b"\xff\xfe\n" + VALUE.encode() + b"\xff") == (Finding(line=2),)


def test_a_bomb_is_not_taken_for_clean():
    with pytest.raises(NoRoom):
        scan(gzip.compress(bytes(20 << 20)))


def test_lines_that_the_base_has_are_no_news():
    old = f"a\nkey = {VALUE}\nb\n"
    assert scan(f"b\nnew\n\tkey\nkey = {VALUE}\na\n", old) == ()
    assert scan(f"key = {VALUE}\r\na\r\n", old) == ()
    assert scan(f"a\nkey2 = {VALUE}\n", old) == (Finding(line=2),)
    # not even in pieces between lines that were there
    assert scan(f"a\n{VALUE[:26]}\nb\n{VALUE[26:]}\n", "a\nb\n")


LOOKS = {
    "github": f"token: ghp_{'aB3dE6gH9kL2' * 3}", "github fine-grained": f"github_pat_11ABCDEFG0{'aB3dE6gH9k' * 6}", "openai or anthropic": "sk-ant-api03-Xy7Qw2Rt9Zp4Lm6Nv8Bc1",
    "aws": "AKIAQ7WERTYU2IOPZ3XC", "google api": "AIzaSyD-9tQw3Er5Ty7Ui8Op2As4Df6Gh1Jk0Lz", "slack": "xoxb-2847562910-9182736455-QwErTyUiOp", "stripe": "sk_live_9aKq2Lm4Np6Rs8Tu0Vw",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7Xy9Qw2Rt4Zp6Lm8Nv0Bc1Df3Gh5Jk\nq8sT2vW4xY6zA1bC3dE5fG7hI9jK0lM\n-----END RSA PRIVATE KEY-----",
    "jwt": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSJ9.Qw2Rt4Zp6Lm8Nv0Bc1Df3Gh5Jk7", "webhook": "https://hooks.slack.com/services/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",
    "name=value": "DB_PASSWORD=Qw2Rt4Zp6Lm8Nv0Bc1", "url password": "postgres://app:Qw2Rt4Zp6Lm8Nv0Bc1@db.internal/x",
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKS)
def test_what_looks_like_a_secret_is_named_by_its_rule(name):
    found = scan(f"first\n{LOOKS[name]}\n")
    assert found
    assert found[0].line in {2, 3}
    assert any(name in finding.rule for finding in found), found


ORDINARY = [
    'password = "hunter2"', "token = request.headers['x-token']", "api_key: str = os.environ['API_KEY']", "secret = None", "password: example-password-123456789", "AKIAIOSFODNN7EXAMPLE",
    "token=YOUR_TOKEN_HERE_1234567890", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "Authorization: Bearer <token>", "sk-ant-api03-EXAMPLE-EXAMPLE-0001", "postgres://user:password@localhost/db",
    "def reset_password(self, new_password: str) -> None:", '"integrity": "sha512-9aKq2Lm4Np6Rs8Tu0VwQw2Rt4Zp6Lm8Nv0Bc1=="', "commit 4f5c1e2d9b8a7c6e5d4f3a2b1c0d9e8f7a6b5c4d", "assert token == 'correct horse battery staple'",
    "secret_name: projects/x/secrets/github-app-key", "- name: Token\n  value: ${TOKEN}", "-----BEGIN PUBLIC KEY-----", "max_tokens = 4096", "PASSWORD_MIN_LENGTH=12",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_work_goes_through(text):
    assert scan(f"{text}\n") == ()


def test_a_made_up_value_does_not_hide_a_real_one_beside_it():
    assert scan("token=EXAMPLE_1234567890abc other_token=Qw2Rt4Zp6Lm8Nv0Bc1\n")


@pytest.mark.parametrize("size", [(1 << 20) - 20, 1 << 20, (1 << 20) + 5])
def test_the_edge_of_a_window_hides_nothing(size):
    text = "x" * 99 + "\n"
    padding = (text * (size // 100 + 1))[:size]
    assert len(scan(f"{padding}\nDB_PASSWORD=Qw2Rt4Zp6Lm8Nv0Bc1\n{text * 100}")) == 1


def test_texts_are_searched_whole():
    assert SCANNER.text(f"Fix the totals {VALUE}") == (Finding(line=1),)
    assert SCANNER.text("Fix the totals\n\nas said") == ()
    assert SCANNER.text("") == ()


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=300), st.text(max_size=300))
def test_wherever_it_stands(before, after):
    (found, *_) = SCANNER.text(before + VALUE + after)
    assert found.line == before.count("\n") + 1 or found.line <= (before + VALUE + after).count("\n") + 1


def test_the_reason_names_places_and_never_the_value():
    found = [
        Located(place=f"src/{number}.py", finding=finding) for number in range(12) for finding in scan(f"\n{VALUE}")
    ]
    reason = blocked_by(found)
    assert reason.code == "blocked_secret"
    assert "src/0.py:2, src/1.py:2" in reason.message
    assert "and 2 more places" in reason.message
    assert VALUE[:12] not in reason.message + reason.hint
    looks = blocked_by([Located(place="a.env", finding=Finding(line=3, rule="aws"))])
    assert "a.env:3 (aws)" in looks.message
    assert "EXAMPLE" in looks.hint


def test_ten_megabytes_take_seconds_at_most():
    chance = random.Random(4711)
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 10))) for _ in range(2_000)]
    text = "\n".join(" ".join(chance.choices(words, k=9)) + f" = call({number})" for number in range(160_000)).encode()
    started = time.process_time()
    assert scan(text) == ()
    assert time.process_time() - started < 10 * len(text) / 1e7
