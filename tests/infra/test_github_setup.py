"""One click makes the App: from the page on this machine over GitHub's form to the secrets in the store."""

import asyncio
import html
import json
import os
import re

import httpx
import pytest

from infra.core.diagnosis import Verdict
from infra.github.app_auth import AppCredentials
from infra.github.doctor import Examination
from infra.github.setup import AppSetup
from infra.local.forge.server import Server
from infra.local.secrets import FileSecrets
from tests.world.forge import forge_world

HOOK = "https://pullwright.example/webhook/github"


@pytest.fixture
async def setup(tmp_path):
    async with forge_world(tmp_path) as github:
        secrets = FileSecrets(tmp_path / "secrets", entropy=os.urandom)
        made = AppSetup(
            api_url=github.forge.api_url,
            github_url=github.forge.url,
            organization="",
            name="Our Pullwright",
            webhook_url=HOOK,
            secrets=secrets,
            entropy=os.urandom,
        )
        server = Server(made.site())
        made.own_url = server.url
        await server.start()
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as browser:
            yield made, browser, github
        await server.stop()
        await secrets.close()


async def clicked(setup, browser):
    page = (await browser.get(f"{setup.own_url}/")).text
    action = html.unescape(re.search(r"action='([^']+)'", page)[1])
    manifest = html.unescape(re.search(r"value='([^']+)'", page)[1])
    return await browser.post(action, data={"manifest": manifest})


async def test_one_click_makes_an_app_that_the_doctor_finds_healthy(setup):
    made, browser, github = setup
    answer = await clicked(made, browser)
    assert "install the App" in answer.text
    app = await asyncio.wait_for(made.done, 5)
    assert "PRIVATE KEY" not in repr(app)
    stored = {
        name: (await made.secrets.get(f"github-{name}")).text
        for name in ("app-id", "app-private-key", "webhook-secret")
    }
    assert stored["app-id"] == str(app.id)
    examination = Examination(
        api_url=github.forge.api_url,
        credentials=AppCredentials(stored["app-id"], stored["app-private-key"]),
        webhook_url=HOOK,
        clock=github.clock,
    )
    found = {finding.topic: finding.verdict for finding in await examination.findings()}
    assert {topic for topic, verdict in found.items() if verdict is Verdict.WRONG} == {"installations"}


@pytest.mark.parametrize("query", ["", "?code=abc", "?code=abc&state=wrong"])
async def test_nobody_else_can_bring_a_code(setup, query):
    made, browser, _ = setup
    assert (await browser.get(f"{made.own_url}/created{query}")).status_code == 403
    assert await made.secrets.get("github-app-id") is None


async def test_a_code_that_github_does_not_know_stores_nothing(setup):
    made, browser, _ = setup
    page = (await browser.get(f"{made.own_url}/")).text
    state = re.search(r"state=([0-9a-z]+)", page)[1]
    assert (await browser.get(f"{made.own_url}/created?code=abc&state={state}")).status_code == 502
    assert await made.secrets.get("github-app-id") is None
    assert json.loads(html.unescape(re.search(r"value='([^']+)'", page)[1]))["public"] is False
