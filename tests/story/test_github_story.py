"""From an issue to a merged pull request, as people on GitHub see it: every word that the platform says is expected here.

Real processes, the real CLI with a scripted model, real git. ``docs/github.md`` tells the same story with the same words.
"""

import asyncio
import base64
import json
import re
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

from tests.world.forge import APP_ID, WEBHOOK_SECRET, app_jwt, bearer, forge_world, key_pair
from tests.world.stack import Up

PAGE = Path(__file__).parents[2] / "docs" / "github.md"
CI_APP = 99
TRIGGERS = """\
triggers:
  - on: label
    label: claude
  - on: mention
    handle: "@claude"
  - on: ci_failed
"""
FILES = {
    "README.md": "# Shop\n",
    "src/cart.py": "def total(prices):\n    return sum(prices) + 1\n",
    ".claude/triggers.yaml": TRIGGERS,
}
# what the scripted agent does depends on what it finds: mend the sum, then rename, then keep the old name
WORK = """\
f=src/cart.py
if grep -q 'sum(prices) + 1' $f; then sed -i 's/sum(prices) + 1/sum(prices)/' $f
elif grep -q '^def total(' $f; then sed -i 's/^def total(/def total_of(/' $f
else printf '\\n\\ntotal = total_of\\n' >> $f
fi"""
SCRIPT = f"""\
match_regex = '(?s).+'
[[turns]]
text = 'I make a list.'
tools = [{{ name = 'TodoWrite', input = {{ todos = [{{ content = 'Look at the cart', status = 'in_progress', activeForm = 'Looking' }}] }} }}]
[[turns]]
text = 'I mend it.'
tools = [{{ name = 'Bash', input = {{ command = {json.dumps(WORK)} }} }}]
[[turns]]
text = 'I changed `src/cart.py` and nothing else.'
"""


class Told:
    """Everything that was said on the forge, and what of it a test has expected."""

    def __init__(self, github):
        self.github = github
        self.read = set()

    async def get(self, path):
        answer = await self.github.http.get(f"{self.github.path}/{path}", headers=bearer(self.github.person))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path, body, token="", method="POST"):
        answer = await self.github.http.request(
            method, f"{self.github.path}/{path}", json=body, headers=bearer(token or self.github.person)
        )
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def until(self, look, what, seconds=90):
        deadline = time.monotonic() + seconds
        while not (found := await look()):
            assert time.monotonic() < deadline, f"{what} did not come: {json.dumps(await self.everything(), indent=1)}"
            await asyncio.sleep(0.1)
        return found

    async def comment(self, number, begins):
        """The one comment of the bot in a conversation, once it begins like this."""

        async def look():
            said = [one for one in await self.get(f"issues/{number}/comments") if one["user"]["type"] == "Bot"]
            assert len(said) <= 1, said
            return said[0] if said and said[0]["body"].startswith(begins) else None

        found = await self.until(look, f"{begins!r} on #{number}")
        self.read.add(found["id"])
        return found["body"]

    async def everything(self):
        """(id, author, text) of all comments, answers and reviews in the repository, also on closed issues."""
        said = []
        for issue in await self.get("issues?state=all"):
            number = issue["number"]
            said += await self.get(f"issues/{number}/comments")
            if "pull_request" in issue:
                said += await self.get(f"pulls/{number}/comments")
                said += [review for review in await self.get(f"pulls/{number}/reviews") if review["body"]]
        return [(one["id"], one["user"]["login"], one["body"]) for one in said]

    async def unread(self):
        return [one for one in await self.everything() if one[1] != "alice" and one[0] not in self.read]


@asynccontextmanager
async def installed(folder):
    """GitHub with our App and somebody's CI on it, and the product connected to it by settings only."""
    scripts = folder / "scripts"
    scripts.mkdir()
    (scripts / "cart.toml").write_text(SCRIPT)
    argv = [
        sys.executable,
        "-m",
        "infra.local.model",
        "--scripts",
        str(scripts),
        "--key",
        "sk-ant-story",
        "--pace-ms",
        "0",
    ]
    model = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    try:
        async with forge_world(folder, files=FILES) as github:
            github.forge.register_app(CI_APP, slug="ci", public_key=key_pair("ci").public)
            ci = github.forge.install_app(CI_APP, "acme", [github.repo])
            up = Up(
                folder,
                ANTHROPIC_BASE_URL=(await model.stdout.readline()).decode().strip(),
                ANTHROPIC_API_KEY="sk-ant-story",
                GITHUB_API_URL=github.forge.api_url,
                GITHUB_URL=github.forge.url,
                GITHUB_APP_ID=str(APP_ID),
                GITHUB_APP_PRIVATE_KEY=key_pair().private,
                GITHUB_WEBHOOK_SECRET=WEBHOOK_SECRET,
                PR_LABELS="bot",
                PR_ASSIGN_REQUESTER="true",
            )
            await asyncio.to_thread(up.__enter__)
            try:
                github.forge.set_webhook(f"{up.url}/webhook/github", WEBHOOK_SECRET, APP_ID)
                yield github, up, ci
            finally:
                await asyncio.to_thread(up.__exit__)
    finally:
        model.terminate()
        await model.wait()


async def ci_token(github, ci):
    claims = app_jwt(github.clock(), private_key=key_pair("ci").key, iss=str(CI_APP))
    answer = await github.http.post(f"/app/installations/{ci.id}/access_tokens", headers=bearer(claims), json={})
    return answer.json()["token"]


def plain(text):
    """The text with what differs from run to run made equal."""
    text = re.sub(r"run-[0-9a-z]{26}", "run-01…", text)
    text = re.sub(r"\b[0-9a-f]{40}\b", "3f2a9c…", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+/api/runs", "https://pullwright.example/api/runs", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+", "https://github.com", text)
    text = re.sub(r"\$\d+\.\d{4}", "$0.0000", text)
    return re.sub(r"\b(\d+ min )?\d+ s\b", "0 s", text)


async def test_an_issue_becomes_a_merged_pull_request(tmp_path):
    said = []
    async with installed(tmp_path) as (github, up, ci):
        told = Told(github)

        # somebody opens an issue with the label
        issue = await told.post("issues", {"title": "Totals are wrong", "body": "By one.", "labels": ["claude"]})
        done = await told.comment(issue["number"], "**Done: pull request")
        said.append(plain(done))
        (pull,) = await told.get("pulls")
        assert (pull["title"], pull["user"]["login"]) == ("Totals are wrong", "pullwright[bot]")
        said.append(plain(pull["body"]))
        number, first = pull["number"], pull["head"]["sha"]
        await told.until(lambda: reacted(told, issue["number"], ["eyes", "rocket"]), "the last reaction")
        (pull,) = await told.get("pulls")
        assert [label["name"] for label in pull["labels"]] == ["bot"]
        assert [person["login"] for person in pull["assignees"]] == ["alice"]
        commit = (await told.get(f"commits/{first}"))["commit"]
        assert commit["author"]["name"] == "pullwright[bot]"
        assert re.search(
            r"^Co-authored-by: alice <\d+\+alice@users\.noreply\.github\.com>$", commit["message"], re.MULTILINE
        )
        assert [one["name"] for one in await told.get(f"issues/{issue['number']}/labels")] == []

        # a reviewer comments on a line
        line = {"path": "src/cart.py", "line": 2, "side": "RIGHT", "commit_id": first}
        asked = await told.post(f"pulls/{number}/comments", {"body": "@claude call it `total_of`, please", **line})
        status = await told.comment(number, "**Done:**")
        said.append(plain(status))
        thread = await told.until(lambda: answers(told, number, asked["id"]), "the answer in the thread")
        said.append(plain(thread[0]["body"]))
        second = (await told.get(f"pulls/{number}"))["head"]["sha"]
        assert (await told.get(f"commits/{second}"))["parents"][0]["sha"] == first
        await told.until(lambda: resolved(github, [asked["id"]]), "the resolved thread")

        # a check fails, which was green without the change
        token = await ci_token(github, ci)
        base = (await told.get("branches/main"))["commit"]["sha"]
        check = {"name": "tests", "status": "completed"}
        await told.post("check-runs", {**check, "head_sha": base, "conclusion": "success"}, token)
        output = {"title": "1 failed", "summary": "ImportError: cannot import name 'total'"}
        await told.post("check-runs", {**check, "head_sha": second, "conclusion": "failure", "output": output}, token)
        third = await told.until(lambda: another_head(told, number, second), "the repair")
        await told.post("check-runs", {**check, "head_sha": third, "conclusion": "success"}, token)
        repaired = await told.until(lambda: ended_here(told, number, third), "the words about the repair")
        said.append(plain(repaired))
        assert "total = total_of" in await content(told, "src/cart.py", third)

        # and somebody merges
        merged = await told.post(f"pulls/{number}/merge", {}, method="PUT")
        assert merged["merged"]
        assert (await told.get(f"issues/{issue['number']}"))["state"] == "closed"
        await github.forge.drain()
        runs = up.http.get("/api/runs").json()["runs"]
        assert [run["status"] for run in runs] == ["succeeded"] * 3, runs
        assert [run["trigger"]["kind"] for run in runs] == ["github_pull", "github_pull", "github_issue"], runs
        await told.until(lambda: checked(told, third, {"tests", "Pullwright"}), "the check runs")
        assert await told.unread() == []
    page = PAGE.read_text("utf-8")
    assert [text for text in said if text not in page] == []


async def reacted(told, number, reactions):
    return [one["content"] for one in await told.get(f"issues/{number}/reactions")] == reactions


async def resolved(github, threads):
    return [one.id for one in github.forge.world.resolutions] == threads


async def checked(told, sha, names):
    return {one["name"] for one in (await told.get(f"commits/{sha}/check-runs"))["check_runs"]} == names


async def answers(told, number, asked):
    said = [one for one in await told.get(f"pulls/{number}/comments") if one.get("in_reply_to_id") == asked]
    told.read |= {one["id"] for one in said}
    return said


async def another_head(told, number, before):
    head = (await told.get(f"pulls/{number}"))["head"]["sha"]
    return head if head != before else None


async def ended_here(told, number, head):
    body = await told.comment(number, "**")
    return body if body.startswith(f"**Done:** {head}") else None


async def content(told, path, ref):
    return base64.b64decode((await told.get(f"contents/{path}?ref={ref}"))["content"]).decode()
