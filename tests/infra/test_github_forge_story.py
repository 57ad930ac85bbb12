"""The real client and the real webhook parser against the local forge, which others wrote from GitHub's documentation."""

import asyncio
import base64
import os
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.core.clock import HOUR
from infra.core.errors import Forbidden, Invalid, NotFound, Upstream
from infra.core.forge import CLONE_PERMISSIONS, PUBLISH_PERMISSIONS, NewPullRequest
from infra.core.repository import Repository, is_sha
from infra.github.app_auth import AppCredentials
from infra.github.client import GitHubForge, GitHubRepository
from infra.github.payloads import IssuesEvent, Ping
from infra.github.webhook import parse, verify
from infra.local.forge.forge import Forge
from infra.system_clock import system_clock
from tests.world.receiver import receiving

SHOP = Repository("acme", "shop")
BRANCH = "claude/run-1"
SECRET = b"only for this test"


def pem_pair():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.fixture(scope="module")
def keys():
    return pem_pair()


@pytest.fixture
async def world(tmp_path, keys):
    """acme/shop with the App, acme/secret and other/shop without it."""
    async with Forge(tmp_path / "forge") as world:
        world.register_app(42, slug="pullwright", public_key=keys[1])
        shop = await world.create_repository("acme", "shop", {"README.md": "# Shop\n"})
        await world.create_repository("acme", "secret", {"README.md": "# Secret\n"})
        await world.create_repository("other", "shop", {"README.md": "# Other\n"})
        world.install_app(42, "acme", [shop])
        yield world


@pytest.fixture
async def forge(world, keys):
    made = GitHubForge.connect(
        api_url=world.api_url, git_url=world.url, credentials=AppCredentials("42", keys[0]), clock=system_clock
    )
    yield made
    await made.close()


async def git(*arguments, token="", cwd=None, ok=True):
    """As the runner's supervisor does it: the token goes in a header, never in the URL."""
    settings = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    if token:
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        settings += ("-c", f"http.extraHeader=Authorization: Basic {basic}")
    ran = await asyncio.to_thread(
        subprocess.run,
        ["git", *settings, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0"},
    )
    assert (ran.returncode == 0) is ok, ran.stderr
    return ran.stdout.strip()


async def test_from_installation_to_pull_request(world, forge, tmp_path):
    installed = await forge.installation(SHOP)
    assert (installed.account, installed.suspended) == ("acme", False)
    assert installed.permissions["contents"] == "write"

    shop = forge.on(installed.id, SHOP)
    facts = await shop.facts()
    assert (facts.default_branch, facts.archived) == ("main", False)
    assert facts.clone_url == f"{world.url}/acme/shop.git"
    base = await shop.resolve("main")
    assert is_sha(base)
    assert await shop.resolve(base) == base
    assert await shop.resolve("refs/heads/main") == base

    work = tmp_path / "work"
    reader = await forge.access_token(installed.id, SHOP, CLONE_PERMISSIONS)
    await git("clone", "-q", facts.clone_url, str(work), token=reader.value)
    assert await git("rev-parse", "HEAD", cwd=work) == base
    await git("switch", "-q", "-c", BRANCH, cwd=work)
    (work / "README.md").write_text("# The shop\n")
    await git("commit", "-q", "-am", "Better title", cwd=work)
    head = await git("rev-parse", "HEAD", cwd=work)
    await git("push", "-q", "origin", BRANCH, token=reader.value, cwd=work, ok=False)
    writer = await forge.access_token(installed.id, SHOP, PUBLISH_PERMISSIONS)
    await git("push", "-q", "origin", BRANCH, token=writer.value, cwd=work)
    assert await shop.resolve(BRANCH) == head

    async def fixed():
        return writer

    runner = GitHubRepository.connect(api_url=world.api_url, git_url=world.url, repository=SHOP, token_source=fixed)
    try:
        new = NewPullRequest(title="Better title", body="As asked.", head_branch=BRANCH, base_branch="main")
        assert await runner.pulls_from(BRANCH) == ()
        opened = await runner.open_pull(new)
        assert (opened.state, opened.merged, opened.head_branch, opened.head_sha) == ("open", False, BRANCH, head)
        assert (opened.base_branch, opened.title, opened.body) == ("main", "Better title", "As asked.")
        again = await runner.open_pull(new)
        assert again.number == opened.number
        assert [pull.number for pull in await runner.pulls_from(BRANCH)] == [opened.number]
        assert await shop.pull(opened.number) == opened
        with pytest.raises(Invalid, match=r"[Nn]o commits"):
            await runner.open_pull(NewPullRequest(title="T", body="", head_branch="main", base_branch="main"))
    finally:
        await runner.close()
    assert await shop.comment(opened.number, "Done.") > 0


async def test_a_token_opens_its_repository_only(world, forge):
    installed = await forge.installation(SHOP)
    token = await forge.access_token(installed.id, SHOP, CLONE_PERMISSIONS)
    assert token.expires_at - system_clock() == pytest.approx(HOUR, abs=60_000)

    async def fixed():
        return token

    for name in ("secret", "nowhere"):
        elsewhere = Repository("acme", name)
        seen = GitHubRepository.connect(
            api_url=world.api_url, git_url=world.url, repository=elsewhere, token_source=fixed
        )
        try:
            with pytest.raises(NotFound):
                await seen.facts()
        finally:
            await seen.close()
    await git("ls-remote", f"{world.url}/acme/secret.git", token=token.value, ok=False)


async def test_a_reading_token_cannot_write(world, forge):
    installed = await forge.installation(SHOP)
    token = await forge.access_token(installed.id, SHOP, CLONE_PERMISSIONS)

    async def fixed():
        return token

    reader = GitHubRepository.connect(api_url=world.api_url, git_url=world.url, repository=SHOP, token_source=fixed)
    try:
        with pytest.raises(Forbidden) as caught:
            await reader.open_pull(NewPullRequest(title="T", body="", head_branch="x", base_branch="main"))
        assert "pull_requests" in caught.value.message
    finally:
        await reader.close()


@pytest.mark.parametrize("name", ["acme/secret", "other/shop", "acme/nowhere", "nobody/shop"])
async def test_not_installed(forge, name):
    owner, _, repo = name.partition("/")
    with pytest.raises(NotFound) as caught:
        await forge.installation(Repository(owner, repo))
    assert caught.value.code == "app_not_installed"


async def test_tokens_that_are_not_to_be_had(forge):
    installed = await forge.installation(SHOP)
    with pytest.raises(NotFound) as caught:
        await forge.access_token(installed.id, Repository("acme", "secret"), CLONE_PERMISSIONS)
    assert caught.value.code == "app_not_installed"
    with pytest.raises(Forbidden) as refused:
        await forge.access_token(installed.id, SHOP, {"workflows": "write"})
    assert refused.value.code == "missing_permission"
    with pytest.raises(NotFound):
        await forge.access_token(installed.id + 1000, SHOP, CLONE_PERMISSIONS)


async def test_another_key_is_refused(world):
    stranger = GitHubForge.connect(
        api_url=world.api_url, git_url=world.url, credentials=AppCredentials("42", pem_pair()[0]), clock=system_clock
    )
    try:
        with pytest.raises(Upstream) as caught:
            await stranger.installation(SHOP)
        assert caught.value.status == 401
    finally:
        await stranger.close()


async def test_refs_that_do_not_exist(world, forge):
    shop = forge.on((await forge.installation(SHOP)).id, SHOP)
    for ref in ("nowhere", "feature/x", "0" * 40):
        with pytest.raises(NotFound):
            await shop.resolve(ref)
    with pytest.raises(NotFound):
        await shop.pull(999)
    empty = await world.create_repository("acme", "empty")
    world.install_app(42, "acme", [empty])
    with pytest.raises(NotFound):
        await forge.on((await forge.installation(SHOP)).id, Repository("acme", "empty")).resolve("main")


async def test_permissions_of_people(world, forge):
    row = world.repository("acme/shop")
    for login, role in (("ann", "admin"), ("max", "maintain"), ("will", "write"), ("tim", "triage"), ("rita", "read")):
        row = world.set_permission(login, row, role)
    shop = forge.on((await forge.installation(SHOP)).id, SHOP)
    asked = {login: await shop.permission(login) for login in ("ann", "max", "will", "tim", "rita", "nobody", "a/b")}
    assert asked == {
        "ann": "admin", "max": "maintain", "will": "write", "tim": "triage", "rita": "read", "nobody": "none", "a/b": "none",
    }  # fmt: skip


async def test_bot_identity(world, forge):
    identity = await forge.bot_identity()
    number, _, rest = identity.email.partition("+")
    assert identity.name == "pullwright[bot]"
    assert rest == "pullwright[bot]@users.noreply.github.com"
    assert number.isdigit()
    assert number != "42"


async def test_webhooks_are_understood(world):
    async with receiving() as receiver:
        world.set_webhook(f"{receiver.url}/hook", SECRET.decode())
        row = world.repository("acme/shop")
        opened = await world.open_issue(row, "It breaks", "Like this – ö", labels=["claude"], author="ann")
        world.ping(42)
        await world.drain()
        events = []
        for request in receiver.at("/hook"):
            headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
            events.append(parse(verify([SECRET], headers, request.body)))
    issues = [event for event in events if isinstance(event, IssuesEvent)]
    assert [event.action for event in issues] == ["opened", "labeled"]
    for event in issues:
        assert (event.issue.number, event.issue.title, event.issue.body) == (
            opened.number,
            "It breaks",
            "Like this – ö",
        )
        assert event.repository.full_name == "acme/shop"
        assert event.sender.login == "ann"
    assert issues[1].label is not None
    assert issues[1].label.name == "claude"
    assert any(isinstance(event, Ping) for event in events)


async def test_a_file_is_read_at_a_ref_and_is_nothing_when_it_is_not_there(world, forge):
    files = {".claude/container.yaml": "name: tools\n", "big.txt": "x" * 1_100_000, "folder/x": "x"}
    tools = await world.create_repository("acme", "tools", files)
    world.install_app(42, "acme", [tools])
    repository = forge.on((await forge.installation(Repository("acme", "tools"))).id, Repository("acme", "tools"))
    assert await repository.file(".claude/container.yaml", "main") == b"name: tools\n"
    assert await repository.file(".claude/nothing.yaml", "main") is None
    assert await repository.file(".claude/container.yaml", "no-such-branch") is None
    for path in ("folder", "big.txt"):
        with pytest.raises(Invalid):
            await repository.file(path, "main")
