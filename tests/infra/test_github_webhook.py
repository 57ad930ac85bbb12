"""Webhooks: nothing unsigned gets in, nothing signed is taken for what it is not, nothing odd makes it stumble."""

import hashlib
import hmac
import json
import random
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.errors import Invalid, Unauthenticated
from infra.github.events import KINDS, Unhandled
from infra.github.payloads import IssuesEvent, Payload, Ping
from infra.github.webhook import VerifiedDelivery, parse, verify
from tests.world.payloads import examples
from tests.world.webhook_examples import published

OWN = examples()
PAYLOADS = {path.stem: path.read_bytes() for path in (Path(__file__).parents[1] / "data" / "webhooks").glob("*.json")}
SECRET = b"the webhook's secret"
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
SIGNATURE = b"x-hub-signature-256"

Headers = list[tuple[bytes, bytes]]


def signature(body: bytes, secret: bytes = SECRET) -> bytes:
    return b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()


def headers_of(event: str, body: bytes, secret: bytes = SECRET) -> Headers:
    """What GitHub sends, its older SHA-1 signature included."""
    return [
        (b"accept", b"*/*"),
        (b"content-type", b"application/json"),
        (b"user-agent", b"GitHub-Hookshot/044aadd"),
        (b"x-github-delivery", DELIVERY.encode()),
        (b"x-github-event", event.encode()),
        (b"x-github-hook-id", b"292430182"),
        (b"x-hub-signature", b"sha1=" + hmac.new(secret, body, "sha1").hexdigest().encode()),
        (SIGNATURE, signature(body, secret)),
    ]


def delivered(event: str, body: bytes) -> VerifiedDelivery:
    return verify([SECRET], headers_of(event, body), body)


def with_header(headers: Headers, name: bytes, *values: bytes) -> Headers:
    return [pair for pair in headers if pair[0] != name] + [(name, value) for value in values]


class TestSignature:
    def test_genuine(self):
        body = PAYLOADS["issues.labeled"]
        delivery = delivered("issues", body)
        assert (delivery.event, delivery.id, delivery.hook) == ("issues", DELIVERY, "292430182")
        assert delivery.body == body
        assert delivery.body_sha256 == hashlib.sha256(body).hexdigest()

    def test_known_answer(self):
        """The example in GitHub's own documentation."""
        body, secret = b"Hello, World!", b"It's a Secret to Everybody"
        known = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        headers = with_header(headers_of("ping", body, secret), SIGNATURE, known)
        assert verify([secret], headers, body).secret == 0

    def test_rotation_tells_which_secret_signed(self):
        body = b"{}"
        for position, used in enumerate((b"new", b"old")):
            assert verify([b"new", b"old"], headers_of("ping", body, used), body).secret == position
        with pytest.raises(Unauthenticated):
            verify([b"new", b"old"], headers_of("ping", body, b"older"), body)

    def test_an_empty_secret_signs_nothing(self):
        body = b"{}"
        for secrets in ([], [b""], [b"", SECRET]):
            with pytest.raises(Unauthenticated):
                verify(secrets, headers_of("ping", body, b""), body)

    def test_wrong_forms(self):
        body = PAYLOADS["issues.opened"]
        good = signature(body)
        sha1 = b"sha1=" + hmac.new(SECRET, body, "sha1").hexdigest().encode()
        wrong: list[tuple[bytes, ...]] = [
            (),
            (good, good),
            (good, b""),
            (b"sha256=" + b"0" * 64, good),
            *((value,) for value in (b"", b"sha256=", sha1, good.upper(), b"SHA256=" + good[7:], good[7:])),
            *(
                (value,)
                for value in (b" " + good, good + b" ", good + b"\n", good + b"," + good, good[:-1], good + b"0")
            ),
            *(
                (value,)
                for value in (
                    b"sha256=" + good[7:].upper(),
                    b"sha256=\xc3\xa9" + good[9:],
                    b"\xff" * 71,
                    b"\x00" + good,
                )
            ),
            ("sha256=" + "".join(chr(0xFF10 + int(c)) if c.isdigit() else c for c in good[7:].decode()))
            .encode()
            .split(b"|"),
        ]
        for values in wrong:
            with pytest.raises(Unauthenticated) as caught:
                verify([SECRET], with_header(headers_of("issues", body), SIGNATURE, *values), body)
            assert caught.value.code == "invalid_signature"

    @pytest.mark.parametrize(
        "count", [10_000, pytest.param(1_000_000, marks=[pytest.mark.full, pytest.mark.timeout(900)])]
    )
    def test_forgeries(self, count):
        """Mutated signatures, headers and bodies: none accepted, none answered with anything but a refusal."""
        chance = random.Random(20261120)
        bodies = list(PAYLOADS.values())
        refused = 0
        for _ in range(count):
            body = chance.choice(bodies)
            headers = headers_of("issues", body)
            match chance.randrange(5):
                case 0:
                    forged = mutated(chance, signature(body))
                    headers = with_header(headers, SIGNATURE, forged)
                case 1:
                    body = mutated(chance, body)
                case 2:
                    headers = with_header(headers, SIGNATURE, signature(body, chance.randbytes(20)))
                case 3:
                    headers = with_header(headers, SIGNATURE, signature(chance.choice(bodies) + b" "))
                case 4:
                    headers = with_header(headers, SIGNATURE, *[signature(body)] * chance.choice((0, 2, 3)))
            with pytest.raises(Unauthenticated):
                verify([SECRET], headers, body)
            refused += 1
        assert refused == count

    @given(
        st.lists(st.tuples(st.binary(max_size=30) | st.just(SIGNATURE), st.binary(max_size=90)), max_size=6),
        st.binary(),
    )
    def test_arbitrary_headers(self, headers, body):
        with pytest.raises(Unauthenticated):
            verify([SECRET], headers, body)

    def test_the_proof_cannot_be_made_by_hand(self):
        with pytest.raises(TypeError):
            VerifiedDelivery(event="issues", id="1", hook="", secret=0, body=b"{}", body_sha256="", proof=object())

    def test_signed_but_incomplete(self):
        body = b"{}"
        for name in (b"x-github-event", b"x-github-delivery"):
            for values in ((), (b"a", b"a"), (b"",), (b"../x",), (b"a b",), (b"\xe9",), (b"x" * 65,)):
                with pytest.raises(Invalid) as caught:
                    verify([SECRET], with_header(headers_of("ping", body), name, *values), body)
                assert caught.value.code == "invalid_delivery"
        assert verify([SECRET], with_header(headers_of("ping", body), b"x-github-hook-id"), body).hook == ""

    def test_no_secret_and_no_body_in_texts(self):
        body = PAYLOADS["issues.opened"]
        assert "Spelling" not in repr(delivered("issues", body))
        with pytest.raises(Unauthenticated) as caught:
            verify([SECRET], with_header(headers_of("issues", body), SIGNATURE, b"sha256=" + b"0" * 64), body)
        shown = f"{caught.value!r} {caught.value.message} {caught.value.hint}"
        assert signature(body).decode()[7:] not in shown
        assert SECRET.decode() not in shown


def mutated(chance: random.Random, value: bytes) -> bytes:
    """Certainly different from the original."""
    position = chance.randrange(len(value))
    match chance.randrange(4):
        case 0:
            return value[:position] + bytes([value[position] ^ (1 << chance.randrange(8))]) + value[position + 1 :]
        case 1:
            return value[:position] + chance.randbytes(1) + value[position:]
        case 2:
            return value[:position] + value[position + 1 :]
        case _:
            return value[:position]


class TestIssues:
    def test_labeled(self):
        event = parse(delivered("issues", PAYLOADS["issues.labeled"]))
        assert isinstance(event, IssuesEvent)
        assert (event.action, event.issue.number, event.issue.title) == (
            "labeled",
            1,
            "Spelling error in the README file",
        )
        assert event.label is not None
        assert event.label.name == "bug"
        assert [label.name for label in event.issue.labels] == ["bug"]
        assert event.repository.full_name == "octocat/hello-world"
        assert event.installation.id == 5
        assert (event.sender.login, event.sender.type) == ("octocat", "User")
        assert event.issue.html_url == "https://github.com/octocat/hello-world/issues/1"
        assert event.issue.updated_at == datetime(2019, 5, 15, 15, 20, 18, tzinfo=UTC)
        assert event.issue.author_association == "OWNER"

    def test_opened_without_text_or_author(self):
        payload = json.loads(PAYLOADS["issues.opened"])
        payload["issue"] |= {"body": None, "user": None}
        event = parse(delivered("issues", json.dumps(payload).encode()))
        assert isinstance(event, IssuesEvent)
        assert (event.action, event.label, event.issue.body, event.issue.user) == ("opened", None, None, None)

    def test_keys_that_github_adds_later_are_fine(self):
        payload = json.loads(PAYLOADS["issues.opened"]) | {"something_new": {"deep": [1, 2, {"x": None}]}}
        payload["issue"] |= {"type": {"name": "Bug"}, "sub_issues_summary": {"total": 0}}
        assert isinstance(parse(delivered("issues", json.dumps(payload).encode())), IssuesEvent)

    @pytest.mark.parametrize(
        ("path", "value", "said"),
        [
            (("issue", "number"), "1", "$.issue.number"),
            (("issue", "number"), 0, "$.issue.number"),
            (("issue", "number"), -(2**70), "$.issue.number"),
            (("issue", "title"), None, "$.issue.title"),
            (("issue", "labels"), [{"name": 3}], "$.issue.labels[0].name"),
            (("issue", "html_url"), "javascript:alert(1)", "$.issue.html_url"),
            (("issue", "updated_at"), "yesterday", "$.issue.updated_at"),
            (("issue", "updated_at"), "2019-05-15T15:20:18", "$.issue.updated_at"),
            (("installation",), None, "$.installation"),
            (("sender", "login"), "", "$.sender.login"),
            (("action",), "la\nbeled", "$.action"),
            (("action",), "labeled\n", "$.action"),
            (("repository", "full_name"), ["a", "b"], "$.repository.full_name"),
        ],
    )
    def test_what_does_not_fit_is_named(self, path, value, said):
        payload = json.loads(PAYLOADS["issues.labeled"])
        target = payload
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
        with pytest.raises(Invalid) as caught:
            parse(delivered("issues", json.dumps(payload).encode()))
        assert caught.value.code == "invalid_payload"
        assert said in caught.value.message


def test_ping():
    event = parse(delivered("ping", PAYLOADS["ping"]))
    assert event == Ping(zen="Anything added dilutes everything else.", hook_id=109948940)


def test_every_other_event_is_acknowledged():
    for name in ("star", "release", "workflow_job", "status", "something_new"):
        body = json.dumps({"action": "created", "repository": {"id": 1}}).encode()
        assert parse(delivered(name, body)) == Unhandled(name, "created")
    assert parse(delivered("repository_dispatch", b'{"action": "any thing at all"}')).action == "any thing at all"


@pytest.mark.parametrize("name", KINDS)
def test_every_understood_event_has_a_shape(name):
    event = parse(delivered(name, json.dumps(OWN[name]).encode()))
    assert isinstance(event, KINDS[name].shape)


@pytest.mark.parametrize("name", KINDS)
def test_a_body_is_accepted_under_its_own_name_only(name):
    """GitHub does not sign the event's name, so a genuine body could be shown again as something else."""
    body = json.dumps(OWN[name]).encode()
    for other in KINDS.keys() - {name}:
        with pytest.raises(Invalid):
            parse(delivered(other, body))


@pytest.mark.parametrize("name", [name for name in KINDS if name != "ping"])
def test_what_is_needed_is_required(name):
    for key in ("installation", "sender", "action", "repository"):
        if key in OWN[name]:
            body = {other: value for other, value in OWN[name].items() if other != key}
            with pytest.raises(Invalid) as caught:
                parse(delivered(name, json.dumps(body).encode()))
            assert caught.value.code == "invalid_payload"


def test_published_examples_are_read_under_their_own_name_and_under_no_other():
    """Most examples come from repository hooks, which have no installation; an App's deliveries always have one."""
    names = sorted({name for name, _ in published()} | KINDS.keys())
    own = swapped = 0
    for name, example in published():
        body = json.dumps({"installation": {"id": 5}, **example}).encode()
        for other in names:
            try:
                event = parse(delivered(other, body))
            except Invalid:
                assert other != name, f"{name}.{example.get('action')}"
                continue
            own += other == name and other in KINDS
            swapped += other != name and other in KINDS
            assert isinstance(event, Unhandled) or other in KINDS
    assert (own, swapped) == (133, 0)


def test_a_comment_on_an_issue_is_no_issue_event():
    """Its body has all that an ``issues`` event has; what it has more gives it away."""
    payload = json.loads(PAYLOADS["issue_comment.created"]) | {"installation": {"id": 5}}
    with pytest.raises(Invalid, match=r"`\$\.comment` does not belong into an issues event"):
        parse(delivered("issues", json.dumps(payload).encode()))


ISSUE = PAYLOADS["issues.opened"].rstrip().removesuffix(b"}")
HAZARDS = {
    "nothing": b"",
    "no object": b"[]",
    "null": b"null",
    "deep list": ISSUE + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"issue":' * 100_000 + b"1" + b"}" * 100_000,
    "unclosed": b"[" * 1_000_000,
    "long integer": ISSUE.replace(b'"number": 1,', b'"number": ' + b"9" * 4301 + b",") + b"}",
    "longer integer": ISSUE.replace(b'"number": 1,', b'"number": 1' + b"0" * 1_000_000 + b",") + b"}",
    "lone surrogate": ISSUE.replace(b"Spelling", b"\\ud800") + b"}",
    "reversed surrogates": ISSUE.replace(b"Spelling", b"\\udc00\\ud800") + b"}",
    "surrogate in a skipped key": ISSUE + b',"x":"\\udfff"}',
    "not a number": ISSUE.replace(b'"number": 1,', b'"number": NaN,') + b"}",
    "infinite": ISSUE.replace(b'"number": 1,', b'"number": Infinity,') + b"}",
    "huge float": ISSUE.replace(b'"number": 1,', b'"number": 1e999,') + b"}",
    "not UTF-8": ISSUE.replace(b"Spelling", b"\xff\xfe") + b"}",
    "not UTF-8 in a skipped key": ISSUE + b',"x":"\xff"}',
    "UTF-16": PAYLOADS["issues.opened"].decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + PAYLOADS["issues.opened"],
    "two values": PAYLOADS["issues.opened"] * 2,
    "half": PAYLOADS["issues.opened"][:2000],
    "form": b"payload=%7B%22action%22%3A%22opened%22%7D",
    "another subject under a repeated key": ISSUE + b',"issue":{}}',
}


@pytest.mark.parametrize("name", HAZARDS)
def test_json_hazards(name):
    """Each is refused as Invalid, within bounded time and memory."""
    body = HAZARDS[name]
    assert body != PAYLOADS["issues.opened"]
    delivery = delivered("issues", body)
    tracemalloc.start()
    began = time.monotonic()
    try:
        with pytest.raises(Invalid) as caught:
            parse(delivery)
        assert caught.value.code == "invalid_payload"
        assert len(caught.value.message) < 400
        assert time.monotonic() - began < 2
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_a_form_body_gets_the_right_hint():
    with pytest.raises(Invalid) as caught:
        parse(delivered("issues", HAZARDS["form"]))
    assert "application/json" in caught.value.hint


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["action", "issue", "hook", "zen", "x"]), inner)
        ),
    ),
    st.sampled_from([*KINDS, "push"]),
)
def test_any_json_is_an_event_or_invalid(value, name):
    try:
        event = parse(delivered(name, json.dumps(value).encode()))
    except Invalid:
        return
    assert isinstance(event, Payload | Unhandled)


@given(st.binary())
def test_any_bytes_are_an_event_or_invalid(body):
    with pytest.raises(Invalid):
        parse(delivered("issues", body))
