"""A project's own file in the whole product: a server with a secret, a list of tools, a file that is wrong."""

import asyncio
import json

from tests.runner.boxes import needs_boxes
from tests.runner.test_mcp_servers import TOKEN, install
from tests.world import model
from tests.world.attacker import script
from tests.world.cli import pullwright
from tests.world.git_client import clone, commit, succeed
from tests.world.stack import Up
from tests.world.sweep import forms_of, hits, stored

FILE = """\
budget: $1
tools:
  allowed: [Bash, mcp__linear]
mcpServers:
  - name: linear
    env: {LINEAR_API_KEY: "${LINEAR_API_KEY}"}
resources: {cpu: "2"}
"""

CALLS = [
    {"name": "mcp__linear__lookup", "input": {"id": 7}},
    {"name": "mcp__linear__tell_everything", "input": {}},
    {"name": "Write", "input": {"file_path": "by-write.txt", "content": "x"}},
    {"name": "Bash", "input": {"command": "env; ls -la /opt; echo done > by-bash.txt"}},
]


async def put(up, content):
    """The file on the default branch, as a person pushes it."""
    token = (up.data / "forge" / "person-token").read_text().strip()
    url = f"{up.forge.replace('http://', f'http://you:{token}@')}/rehearsal/invoices.git"
    work = up.folder / f"work-{len(content)}"
    await clone(url, work)
    await commit(work, ".claude/container.yaml", content, "The project's file")
    await succeed("push", "--quiet", "origin", "HEAD:main", cwd=work)


@needs_boxes
async def test_a_project_gets_its_server_its_tools_and_its_limits_and_nobody_its_secret(tmp_path):
    def story(url):
        settings = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": model.KEY, "RUNNER_SANDBOX": "require"}
        with Up(tmp_path, RUNNER_MCP_DIR=str(install(tmp_path / "mcp")), **settings) as up:
            asyncio.run(put(up, FILE))
            missing = up.dispatch(context="Look it up").json()
            done = pullwright(
                "secret",
                "set",
                "rehearsal/invoices",
                "LINEAR_API_KEY",
                "--data",
                str(up.data),
                cwd=tmp_path,
                stdin=TOKEN,
            )
            assert done.returncode == 0, done.stderr
            run = up.dispatch(context="Look it up").json()
            page = up.http.get(f"/api/runs/{run['run_id']}/events").json()["events"]
            log = up.http.get(f"/api/runs/{run['run_id']}/artifacts/tools.jsonl").text
            asyncio.run(put(up, FILE.replace("$1", "five dollars")))
            wrong = up.dispatch(context="Look it up").json()
        return missing, run, page, log, wrong

    scripts = model.scripts(linear=script("Look it up", CALLS, "Looked up."))
    async with model.scripted_model(scripts) as serving:
        missing, run, events, log, wrong = await asyncio.to_thread(story, serving.url)
        asked = json.dumps([call.body for call in serving.calls])

    assert (missing["status"], missing["error"]["code"]) == ("blocked", "invalid_project_file")
    assert ".claude/container.yaml:6:" in missing["error"]["message"]
    assert "pullwright secret set rehearsal/invoices LINEAR_API_KEY" in missing["error"]["message"]

    assert run["status"] == "succeeded", run
    said = [each["data"]["text"] for each in events if each["type"] == "tool_result"]
    assert "issue 7: the totals are off by one" in said[0]
    decided = {each["data"]["name"]: each["data"]["decision"] for each in events if each["type"] == "tool_use"}
    assert decided == {
        "mcp__linear__lookup": "allow",
        "mcp__linear__tell_everything": "allow",
        "Write": "deny",
        "Bash": "allow",
    }
    told = [each["data"].get("message", "") for each in events]
    assert "The MCP server linear runs in a box of its own." in told
    assert any("resources.cpu" in each for each in told)
    assert '"tool":"mcp__linear__lookup"' in log

    assert (wrong["status"], wrong["error"]["code"]) == ("blocked", "invalid_project_file")
    assert ".claude/container.yaml:1:9 budget: five dollars" in wrong["error"]["message"]

    forms = forms_of({"the server's token": TOKEN})
    assert hits(asked.encode(), forms) == []
    assert [place for place, data in stored(tmp_path) if hits(data, forms)] == []
