"""Webhooks: signed over the exact bytes, in order, once, recorded, and sent again on request."""

import asyncio
import hashlib
import hmac
import json
import uuid

import pytest

from infra.local.forge.forge import Forge
from tests.world.forge import APP_ID, WEBHOOK_SECRET, bearer, forge_world
from tests.world.git_client import clone, commit, succeed
from tests.world.receiver import receiving


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        yield world


@pytest.fixture
async def hook(github):
    async with receiving() as receiver:
        github.forge.set_webhook(f"{receiver.url}/webhook/github", WEBHOOK_SECRET)
        yield receiver


async def told(github, hook):
    """Event and payload of everything delivered so far, in order."""
    await github.forge.drain()
    return [(row.headers["x-github-event"], json.loads(row.body)) for row in hook.at("/webhook/github")]


async def test_a_delivery_carries_githubs_headers_and_a_true_signature(github, hook):
    await github.forge.open_issue(github.repo, "Größe", "…")
    await github.forge.drain()
    (request,) = hook.at("/webhook/github")
    expected = hmac.new(WEBHOOK_SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-hub-signature-256"] == f"sha256={expected}"
    assert request.headers["user-agent"].startswith("GitHub-Hookshot/")
    assert request.headers["content-type"] == "application/json"
    assert uuid.UUID(request.headers["x-github-delivery"]).version == 4
    assert request.headers["x-github-hook-installation-target-type"] == "integration"
    assert request.headers["x-github-hook-installation-target-id"] == str(APP_ID)
    assert request.headers["x-github-hook-id"].isdecimal()


async def test_an_issue_payload_has_what_githubs_have(github, hook):
    await github.http.post(
        f"{github.path}/issues", headers=bearer(github.person), json={"title": "t", "labels": ["claude"]}
    )
    (first, opened), (second, labeled) = await told(github, hook)
    assert (first, opened["action"]) == ("issues", "opened")
    assert (second, labeled["action"], labeled["label"]["name"]) == ("issues", "labeled", "claude")
    for payload in (opened, labeled):
        assert payload["installation"] == {"id": github.installation.id, "node_id": payload["installation"]["node_id"]}
        assert payload["sender"]["login"] == "alice"
        assert payload["repository"]["full_name"] == "acme/shop"
        assert payload["organization"]["login"] == "acme"
        assert [label["name"] for label in payload["issue"]["labels"]] == ["claude"]
    assert 7_000 < len(json.dumps(opened)) < 20_000


async def test_a_conversation_is_told_in_the_order_it_happened(github, hook, tmp_path):
    bot, alice = bearer(await github.installation_token()), bearer(github.person)
    issue = f"{github.path}/issues/1"
    await github.http.post(f"{github.path}/issues", headers=alice, json={"title": "Broken"})
    comment = (await github.http.post(f"{issue}/comments", headers=bot, json={"body": "queued"})).json()["id"]
    await github.http.patch(f"{github.path}/issues/comments/{comment}", headers=bot, json={"body": "done"})
    await github.http.post(f"{issue}/labels", headers=alice, json={"labels": ["a", "b"]})
    await github.http.delete(f"{issue}/labels/a", headers=alice)
    work = await clone(github.clone_url(github.person), tmp_path / "work")
    await commit(work, "src/cart.py", "x = 1\n", "one", branch="fix")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    pull = f"{github.path}/pulls/2"
    await github.http.post(
        f"{github.path}/pulls", headers=bot, json={"title": "Fix", "head": "fix", "base": "main", "body": "Fixes #1"}
    )
    await commit(work, "src/cart.py", "x = 2\n", "two")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    note = {"path": "src/cart.py", "line": 1, "body": "why?"}
    await github.http.post(f"{pull}/reviews", headers=alice, json={"event": "COMMENT", "comments": [note]})
    await github.http.post(
        f"{github.path}/check-runs", headers=bot, json={"name": "ci", "head_sha": "fix", "conclusion": "success"}
    )
    await github.http.put(f"{pull}/merge", headers=alice, json={})
    story = await told(github, hook)
    assert [(event, payload.get("action")) for event, payload in story] == [
        ("issues", "opened"),
        ("issue_comment", "created"),
        ("issue_comment", "edited"),
        ("issues", "labeled"),
        ("issues", "labeled"),
        ("issues", "unlabeled"),
        ("push", None),
        ("pull_request", "opened"),
        ("push", None),
        ("pull_request", "synchronize"),
        ("pull_request_review", "submitted"),
        ("pull_request_review_comment", "created"),
        ("check_run", "created"),
        ("check_run", "completed"),
        ("check_suite", "completed"),
        ("pull_request", "closed"),
        ("push", None),
        ("issues", "closed"),
    ]
    payloads = [payload for _, payload in story]
    assert payloads[2]["changes"] == {"body": {"from": "queued"}}
    assert payloads[1]["sender"]["type"] == "Bot"
    first_push, second_push = payloads[6], payloads[8]
    assert (first_push["ref"], first_push["created"], first_push["before"]) == ("refs/heads/fix", True, "0" * 40)
    assert [row["message"] for row in first_push["commits"]] == ["one"]
    assert second_push["head_commit"]["modified"] == ["src/cart.py"]
    assert payloads[9]["after"] == second_push["after"] == payloads[9]["pull_request"]["head"]["sha"]
    assert payloads[10]["review"]["state"] == "commented"
    assert payloads[12]["check_run"]["pull_requests"][0]["number"] == 2
    assert payloads[15]["pull_request"]["merged"] is True
    assert payloads[16]["ref"] == "refs/heads/main"


async def test_five_hundred_deliveries_keep_their_order(github, hook):
    for number in range(500):
        await github.forge.open_issue(github.repo, str(number))
    assert [payload["issue"]["title"] for _, payload in await told(github, hook)] == [str(n) for n in range(500)]


async def test_failures_are_recorded_never_repeated_and_sent_again_on_request(github, hook):
    headers = bearer(github.jwt())
    hook.answer("/webhook/github", 500)
    await github.forge.open_issue(github.repo, "missed")
    await github.forge.drain()
    await asyncio.sleep(0)
    assert len(hook.requests) == 1
    (failed,) = (await github.http.get("/app/hook/deliveries", headers=headers)).json()
    assert (failed["status_code"], failed["event"], failed["action"], failed["redelivery"]) == (
        500,
        "issues",
        "opened",
        False,
    )
    assert failed["installation_id"] == github.installation.id
    assert failed["repository_id"] == github.repo.id
    attempts = f"/app/hook/deliveries/{failed['id']}/attempts"
    assert (await github.http.post(attempts, headers=headers)).status_code == 202
    await github.forge.drain()
    first, second = hook.requests
    assert first.headers["x-github-delivery"] == second.headers["x-github-delivery"] == failed["guid"]
    assert (first.body, first.headers["x-hub-signature-256"]) == (second.body, second.headers["x-hub-signature-256"])
    newest = (await github.http.get("/app/hook/deliveries", headers=headers)).json()[0]
    assert (newest["status_code"], newest["redelivery"], newest["guid"]) == (200, True, failed["guid"])
    full = (await github.http.get(f"/app/hook/deliveries/{newest['id']}", headers=headers)).json()
    assert full["request"]["payload"]["issue"]["title"] == "missed"
    assert full["request"]["headers"]["X-GitHub-Event"] == "issues"


async def test_a_silent_or_absent_receiver_stops_nobody(github, tmp_path):
    github.forge.set_webhook("http://127.0.0.1:9/nobody", WEBHOOK_SECRET)
    await github.forge.open_issue(github.repo, "unheard")
    await github.forge.drain()
    (row,) = (await github.http.get("/app/hook/deliveries", headers=bearer(github.jwt()))).json()
    assert (row["status_code"], row["status"]) == (0, "failed to connect to host")


async def test_the_list_of_deliveries_continues_at_its_cursor(github, hook):
    for number in range(7):
        await github.forge.open_issue(github.repo, str(number))
    await github.forge.drain()
    headers, url, seen = bearer(github.jwt()), "/app/hook/deliveries?per_page=3", []
    while url:
        answer = await github.http.get(url, headers=headers)
        seen += [row["id"] for row in answer.json()]
        url = answer.links.get("next", {}).get("url")
    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)


async def test_the_app_changes_its_own_hook_and_secret(github, hook):
    headers = bearer(github.jwt())
    changed = await github.http.patch(
        "/app/hook/config", headers=headers, json={"url": f"{hook.url}/new", "secret": "second"}
    )
    assert changed.json()["url"] == f"{hook.url}/new"
    assert "second" not in changed.text
    await github.forge.open_issue(github.repo, "t")
    await github.forge.drain()
    (request,) = hook.at("/new")
    assert request.headers["x-hub-signature-256"] == "sha256=" + hmac.new(b"second", request.body, "sha256").hexdigest()
    refused = await github.http.patch("/app/hook/config", headers=headers, json={"url": "file:///etc/passwd"})
    assert refused.status_code == 422


async def test_an_app_hears_only_what_it_is_installed_on_and_listens_to(github, hook):
    silent = await github.forge.create_repository("acme", "vault")
    await github.forge.open_issue(silent, "not told")
    world = github.forge.world
    assert await told(github, hook) == []
    app = world.apps.get(APP_ID)
    github.forge.register_app(APP_ID, slug=app.slug, public_key=app.public_key, events=["push"])
    await github.forge.open_issue(github.repo, "not told either")
    assert await told(github, hook) == []
    github.forge.ping(APP_ID)
    ((event, payload),) = await told(github, hook)
    assert (event, payload["hook"]["app_id"]) == ("ping", APP_ID)


async def test_what_waited_when_the_forge_ended_can_be_asked_for_again(tmp_path):
    async with receiving() as hook:
        release = hook.hold("/webhook/github")
        async with forge_world(tmp_path) as github:
            github.forge.set_webhook(f"{hook.url}/webhook/github", WEBHOOK_SECRET)
            await github.forge.open_issue(github.repo, "first")
            await github.forge.open_issue(github.repo, "second")
            await hook.until_count("/webhook/github", 1)
        release.set()
        async with Forge(tmp_path / "forge") as again:
            rows = list(again.world.deliveries)
            assert [(row.status_code, row.status) for row in rows] == [(0, "failed to connect to host")] * 2
            again.world.webhooks.again(rows[1])
            await again.drain()
        assert json.loads(hook.requests[-1].body)["issue"]["title"] == "second"
