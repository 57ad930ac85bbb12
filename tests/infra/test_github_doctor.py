"""The doctor's look at the GitHub App: what is wrong is said with what to click."""

import re

import pytest

from infra.core.diagnosis import Verdict
from infra.core.github_app import EVENTS, PERMISSIONS, manifest
from infra.github.app_auth import AppCredentials
from infra.github.doctor import Examination
from tests.world.forge import APP_ID, APP_SLUG, WEBHOOK_SECRET, forge_world, key_pair

HOOK = "https://pullwright.example/webhook/github"


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path, permissions=PERMISSIONS) as world:
        world.forge.register_app(
            APP_ID, slug=APP_SLUG, public_key=key_pair().public, permissions=PERMISSIONS, events=EVENTS
        )
        world.forge.set_webhook(HOOK, WEBHOOK_SECRET, APP_ID)
        yield world


async def examined(github, *, clock=None, pair=None, webhook_url=HOOK):
    examination = Examination(
        api_url=github.forge.api_url,
        credentials=AppCredentials(str(APP_ID), (pair or key_pair()).private),
        webhook_url=webhook_url,
        clock=clock or github.clock,
    )
    return {finding.topic: finding for finding in await examination.findings()}


async def test_a_healthy_app_is_fine(github):
    found = await examined(github)
    assert [finding for finding in found.values() if finding.verdict is Verdict.WRONG] == []
    assert set(found) == {"clock", "App", "permissions", "events", "webhook", "deliveries", "installations"}


async def test_a_key_of_another_app_ends_the_look(github):
    found = await examined(github, pair=key_pair("somebody else's"))
    assert set(found) == {"clock", "App"}
    assert found["App"].verdict is Verdict.WRONG


async def test_a_clock_that_is_off(github):
    found = await examined(github, clock=lambda: github.clock() + 100_000)
    assert re.search(r"clock is \+(99|10\d) s off", found["clock"].message)


async def test_a_webhook_to_another_place(github):
    found = await examined(github, webhook_url="https://new.example/webhook/github")
    assert found["webhook"].verdict is Verdict.WRONG
    assert "enter https://new.example/webhook/github" in found["webhook"].commands[0]


async def test_missing_permissions_and_events(github):
    github.forge.register_app(
        APP_ID,
        slug=APP_SLUG,
        public_key=key_pair().public,
        permissions={"contents": "read", "issues": "write", "pull_requests": "write"},
        events=["issues"],
    )
    found = await examined(github)
    assert found["permissions"].verdict is Verdict.WRONG
    assert "contents: write" in found["permissions"].commands[0]
    assert found["events"].verdict is Verdict.WRONG
    assert "check_suite" in found["events"].message


async def test_deliveries_that_fail(github):
    github.forge.set_webhook("http://127.0.0.1:9/webhook/github", WEBHOOK_SECRET, APP_ID)
    github.forge.ping(APP_ID)
    await github.forge.drain()
    found = await examined(github, webhook_url="http://127.0.0.1:9/webhook/github")
    assert found["deliveries"].verdict is Verdict.WRONG
    assert "1 of the newest 1 failed; the last, ping," in found["deliveries"].message


async def test_nobody_to_ask(github):
    await github.forge.close()
    found = await examined(github)
    assert found["clock"].verdict is Verdict.WRONG
    assert found["App"].verdict is Verdict.WRONG


def test_the_manifest_asks_for_what_is_needed_and_no_more():
    made = manifest(
        name="Pullwright", url="https://x.example", webhook_url=HOOK, redirect_url="http://127.0.0.1:1/created"
    )
    assert "workflows" not in made["default_permissions"]
    assert made["default_permissions"]["contents"] == "write"
    assert made["hook_attributes"]["url"] == HOOK
    assert made["public"] is False
