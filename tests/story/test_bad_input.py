"""Whatever is sent: a 4xx in the one error shape with a next step, in bounded time, and no half-made run."""

import hashlib
import hmac
import json
import socket
import time
import uuid

import httpx
import pytest

GOOD = {
    "owner": "rehearsal",
    "repo": "invoices",
    "workflowId": "claude.yml",
    "inputs": {"action_type": "create-pr", "context": "Fix it"},
}


def changed(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def inputs(**changes):
    return changed(inputs={**GOOD["inputs"], **changes})


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


CASES = {
    "not JSON": (b"{", 400, "malformed_json"),
    "nothing": (b"", 400, "malformed_json"),
    "a list": (b"[]", 422, "invalid_body"),
    "null": (b"null", 422, "invalid_body"),
    "not UTF-8": (b'{"owner": "\xff"}', 400, "malformed_json"),
    "very deep": (b"[" * 100_000, 422, "invalid_body"),
    "a huge number": (b'{"owner": ' + b"9" * 5000 + b"}", 422, "invalid_body"),
    "NaN": (b'{"owner": NaN}', 400, "malformed_json"),
    "half a character": (changed(owner="x").replace(b'"x"', b'"\\ud800"'), 400, "malformed_json"),
    "a wrong type": (changed(owner=7), 422, "invalid_body"),
    "an unknown key": (changed(branch="x"), 422, "invalid_body"),
    "an unknown input": (inputs(model="x"), 422, "invalid_body"),
    "no owner": (without("owner"), 422, "invalid_body"),
    "no inputs": (without("inputs"), 422, "invalid_body"),
    "another workflow": (changed(workflowId="deploy.yml"), 422, "unsupported_workflow"),
    "an unknown action": (inputs(action_type="deploy"), 422, "unsupported_action"),
    "an empty context": (inputs(context="  \n "), 422, "empty_context"),
    "a context with NUL": (inputs(context="a\x00b"), 422, "invalid_context"),
    "a context beyond the limit": (inputs(context="x" * 100_001), 422, "context_too_long"),
    "an owner with dots": (changed(owner=".."), 422, "invalid_owner"),
    "an owner with a space": (changed(owner="a b"), 422, "invalid_owner"),
    "an owner that is an option": (changed(owner="--upload-pack=x"), 422, "invalid_owner"),
    "a repo with dots": (changed(repo=".."), 422, "invalid_repo"),
    "a repo with a slash": (changed(repo="a/../b"), 422, "invalid_repo"),
    "a repo with a newline": (changed(repo="a\nb"), 422, "invalid_repo"),
    "a ref with dots": (changed(ref="a..b"), 422, "invalid_ref"),
    "a ref that is an option": (changed(ref="--exec=x"), 422, "invalid_ref"),
    "a ref with a control character": (changed(ref="a\x07b"), 422, "invalid_ref"),
    "a ref that does not exist": (changed(ref="no-such-branch"), 422, "unknown_ref"),
    "an unknown repository": (changed(repo="no-such-repo"), 404, "app_not_installed"),
    "a repository without the App": (changed(owner="somebody", repo="else"), 404, "app_not_installed"),
}


def error_of(answer, status, code):
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint", "request_id"}
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return error


def run_count(up):
    return len(up.http.get("/api/runs?limit=200").json()["runs"])


@pytest.mark.parametrize("name", CASES)
def test_a_bad_dispatch_call_is_refused_with_what_to_change(up, name):
    body, status, code = CASES[name]
    before, started = run_count(up), time.monotonic()
    error = error_of(up.http.post("/api/workflows/dispatch", content=body), status, code)
    assert error["hint"]
    assert time.monotonic() - started < 5
    assert run_count(up) == before


def test_a_body_of_26_megabytes_is_refused_before_it_is_read(up):
    before = run_count(up)
    answer = up.http.post("/api/workflows/dispatch", content=b"x" * 26_000_000)
    error_of(answer, 413, "body_too_large")
    answer = up.http.post("/webhook/github", content=b"x" * 27_000_000)
    error_of(answer, 413, "body_too_large")
    assert run_count(up) == before


def test_a_body_without_an_announced_length_is_cut_off_at_the_limit(up):
    def endless():
        for _ in range(64):
            yield b"x" * 65_536

    error_of(up.http.post("/api/workflows/dispatch", content=endless()), 413, "body_too_large")


@pytest.mark.timeout(60)
def test_a_body_that_trickles_is_cut_off_in_bounded_time_while_others_are_served(up):
    host, port = up.url.removeprefix("http://").split(":")
    started = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=40) as slow:
        head = f"POST /api/workflows/dispatch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {up.key}\r\ncontent-length: 500\r\n\r\n"
        slow.sendall(head.encode() + b"{")
        assert up.http.get("/health").status_code == 200
        said = ""
        while "slow_body" not in said and (piece := slow.recv(4096)):
            said += piece.decode()
    assert said.startswith("HTTP/1.1 408")
    assert "slow_body" in said
    assert time.monotonic() - started < 35


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ({}, 401, "missing_credentials"),
        ({"authorization": "Basic eA=="}, 401, "missing_credentials"),
        ({"authorization": "Bearer nonsense"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer pw_aaaaaaaaaaaa_" + "0" * 32}, 401, "invalid_api_key"),
        ({"authorization": "Bearer \xff"}, 401, "invalid_api_key"),
    ],
)
def test_callers_without_a_key_get_no_further(up, header, status, code):
    raw = {name: value.encode("latin-1") for name, value in header.items()}
    answer = httpx.post(f"{up.url}/api/workflows/dispatch", json=GOOD, headers=raw, trust_env=False)
    error_of(answer, status, code)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "unknown_path"),
        ("GET", "/api/runs/", 404, "unknown_path"),
        ("DELETE", "/api/runs", 405, "method_not_allowed"),
        ("GET", "/api/runs/run-x", 422, "invalid_run_id"),
        ("GET", "/api/runs/run-0000000000000000000000000a", 404, "unknown_run"),
        ("GET", "/api/runs?limit=0", 422, "invalid_limit"),
        ("GET", "/api/runs?limit=1e3", 422, "invalid_limit"),
        ("GET", "/api/runs?limit=" + "9" * 5000, 422, "invalid_limit"),
        ("GET", "/api/runs?state=sleeping", 422, "invalid_state"),
        ("GET", "/api/runs?after=nonsense", 422, "invalid_cursor"),
        ("POST", "/api/runs/run-0000000000000000000000000a/cancel", 404, "unknown_run"),
        ("GET", "/api/workflows/installation-status/a%20b/c", 422, "invalid_owner"),
        ("POST", "/internal/sweep", 401, "invalid_identity_token"),
        ("POST", "/api/runs/run-0000000000000000000000000a/claim", 401, "invalid_run_token"),
        ("POST", "/api/ingest/event", 401, "invalid_run_token"),
    ],
)
def test_other_doors_refuse_in_the_same_shape(up, method, path, status, code):
    error_of(up.http.request(method, path), status, code)


def deliver(up, body, event="issues", **headers):
    secret = webhook_secret(up)
    signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return up.http.post(
        "/webhook/github",
        content=body,
        headers={
            "x-github-event": event,
            "x-github-delivery": str(uuid.uuid4()),
            "x-hub-signature-256": signature,
            **headers,
        },
    )


def webhook_secret(up):
    seed = json.loads((up.data / "forge" / "seed.json").read_text())
    return seed["apps"][0]["webhook"]["secret"].encode()


def test_webhooks_without_a_good_signature_are_refused(up):
    body = b'{"zen": "x"}'
    for signature in ("", "sha1=abc", "sha256=" + "0" * 64, "sha256=" + "é" * 64):
        answer = deliver(up, body, "ping", **{"x-hub-signature-256": signature.encode()})
        error_of(answer, 401, "invalid_signature")


def test_ping_is_answered_and_signed_nonsense_is_a_clear_4xx(up):
    assert deliver(up, b'{"zen": "Keep it simple.", "hook_id": 1, "hook": {}}', "ping").status_code == 200
    error_of(deliver(up, b"[" * 100_000), 422, "invalid_payload")
    error_of(deliver(up, b'{"action": "labeled"}'), 422, "invalid_payload")


def test_other_events_are_acknowledged_with_a_reason(up):
    answer = deliver(up, b'{"action": "created", "starred_at": null}', "star")
    assert answer.status_code == 200
    assert answer.json()["status"] == "noted"
