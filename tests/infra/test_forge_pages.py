"""Pages: they show the truth, escape everything, run no script, and take forms only from themselves."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.forge.pages.html import document, tag
from tests.world.forge import bearer, forge_world
from tests.world.git_client import clone, commit, succeed

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(1)>&amp;'


class Seen(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.attributes = [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        yield world


async def page(github, path):
    return await github.http.get(f"{github.forge.url}{path}")


@given(st.text(), st.text())
def test_no_text_ever_becomes_markup(text, title):
    seen = Seen(document(title, tag("p", text, title=text, class_=text)))
    assert {"script", "img"}.isdisjoint(seen.tags)
    assert seen.tags.count("p") == 1
    assert {name for name, _ in seen.attributes} <= {
        "charset",
        "name",
        "content",
        "rel",
        "href",
        "lang",
        "title",
        "class",
    }


async def test_a_pull_request_can_be_looked_at(github, tmp_path):
    work = await clone(github.clone_url(github.person), tmp_path / "work")
    await commit(work, "src/cart.py", "def total(prices):\n    return 0\n", "Zero", branch="fix")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    bot = bearer(await github.installation_token())
    made = await github.http.post(
        f"{github.path}/pulls", headers=bot, json={"title": "Zero", "head": "fix", "base": "main", "body": "Because"}
    )
    await github.http.post(f"{github.path}/issues/1/comments", headers=bot, json={"body": "A word"})
    run = {"name": "ci", "head_sha": "fix", "conclusion": "failure", "output": {"title": "1 failed", "summary": "s"}}
    await github.http.post(f"{github.path}/check-runs", headers=bot, json=run)
    answer = await github.http.get(made.json()["html_url"])
    assert answer.status_code == 200
    for shown in (
        "local forge",
        "Zero",
        "Because",
        "A word",
        "ci",
        "1 failed",
        '<span class="removed">-    return sum(prices)</span>',
        '<span class="added">+    return 0</span>',
    ):
        assert shown in answer.text
    assert "+    return 0" in (await page(github, "/acme/shop/pull/1.diff")).text
    assert (await page(github, "/acme/shop/issues/1")).headers["location"] == "/acme/shop/pull/1"


async def test_hostile_titles_bodies_labels_and_files_stay_text(github, tmp_path):
    work = await clone(github.clone_url(github.person), tmp_path / "work")
    await commit(work, "src/<b>&.py", EVIL, EVIL, branch="fix")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    bot = bearer(await github.installation_token())
    fields = {"title": EVIL, "head": "fix", "base": "main", "body": EVIL}
    await github.http.post(f"{github.path}/pulls", headers=bot, json=fields)
    await github.forge.open_issue(github.repo, EVIL, EVIL, labels=[EVIL[:40]])
    for number in (1, 2):
        await github.http.post(f"{github.path}/issues/{number}/comments", headers=bot, json={"body": EVIL})
    for path in ("/", "/acme/shop", "/acme/shop/pull/1", "/acme/shop/issues/2"):
        answer = await page(github, path)
        seen = Seen(answer.text)
        assert answer.status_code == 200
        assert {"script", "img", "b"}.isdisjoint(seen.tags)
        assert path == "/" or "<script>alert(1)</script>" in seen.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy


async def test_an_issue_can_be_opened_in_a_browser(github):
    form = {"title": "From the page", "body": "hello", "label": "claude"}
    post = f"{github.forge.url}/acme/shop/issues"
    made = await github.http.post(post, data=form, headers={"origin": github.forge.url})
    assert (made.status_code, made.headers["location"]) == (303, "/acme/shop/issues/1")
    issue = (await github.http.get(f"{github.path}/issues/1", headers=bearer(github.person))).json()
    assert (issue["user"]["login"], issue["labels"][0]["name"]) == ("you", "claude")
    assert "From the page" in (await page(github, "/acme/shop")).text
    bad = await github.http.post(post, data={"title": ""}, headers={"origin": github.forge.url})
    assert bad.status_code == 422


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
async def test_other_sites_cannot_post_or_read(github, origin):
    headers = {"origin": origin} if origin else {}
    refused = await github.http.post(f"{github.forge.url}/acme/shop/issues", data={"title": "x"}, headers=headers)
    assert refused.status_code == 403
    rebound = await github.http.get(f"{github.forge.url}/acme/shop", headers={"host": "evil.example"})
    assert rebound.status_code == 421
    assert github.forge.world.issues.of(github.repo.id) == []


@pytest.mark.parametrize(
    "path", ["/nobody", "/nobody/nothing", "/acme/shop/pull/9", "/acme/shop/tree/main", "/favicon.ico"]
)
async def test_what_is_not_there_is_said_in_a_sentence(github, path):
    answer = await page(github, path)
    assert answer.status_code == 404
    assert "local forge" in answer.text


async def test_the_style_sheet_is_served(github):
    assert (await page(github, "/_forge/style.css")).headers["content-type"].startswith("text/css")
