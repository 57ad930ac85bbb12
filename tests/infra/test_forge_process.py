"""The forge as a program of its own: started, seeded, watched, stopped, started again."""

import asyncio
import json
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from infra.core.errors import Invalid
from infra.local.forge.forge import Forge
from infra.system_clock import system_clock
from tests.world.forge import APP_ID, app_jwt, bearer, forge_world, key_pair
from tests.world.git_client import clone, commit, succeed

ROOT = Path(__file__).parents[2]


def a_seed(folder):
    (folder / "demo").mkdir(exist_ok=True)
    (folder / "demo" / "README.md").write_text("# Demo\n")
    return {
        "apps": [
            {
                "id": APP_ID,
                "slug": "pullwright",
                "public_key": key_pair().public,
                "webhook": {"url": "http://127.0.0.1:9/webhook/github", "secret": "hush"},
            }
        ],
        "people": [{"login": "you", "token_file": str(folder / "you.token")}, {"login": "alice"}],
        "repositories": [
            {
                "owner": "rehearsal",
                "name": "demo",
                "source": str(folder / "demo"),
                "apps": [APP_ID],
                "roles": {"alice": "write"},
                "labels": ["claude"],
                "issues": [{"title": "Fix the demo", "labels": ["claude"]}],
            }
        ],
    }


@asynccontextmanager
async def running(data, *arguments, stdin=b""):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "infra.local.forge", "--data", str(data), *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        process.stdin.write(stdin)
        process.stdin.close()
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        assert line, (await process.stderr.read()).decode()
        yield json.loads(line)
        process.terminate()
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_one_command_starts_and_fills_it_and_a_restart_finds_everything(tmp_path):
    data = tmp_path / "forge"
    seed = json.dumps(a_seed(tmp_path)).encode()
    async with running(data, "--seed", "-", stdin=seed) as ready, httpx.AsyncClient(trust_env=False) as http:
        assert ready["api_url"] == f"{ready['url']}/api/v3"
        installation = ready["seeded"]["repositories"]["rehearsal/demo"]["installations"][str(APP_ID)]
        you = (tmp_path / "you.token").read_text()
        issues = f"{ready['api_url']}/repos/rehearsal/demo/issues"
        assert [row["title"] for row in (await http.get(issues, headers=bearer(you))).json()] == ["Fix the demo"]
        work = await clone(f"{ready['url'].replace('//', f'//x:{you}@')}/rehearsal/demo.git", tmp_path / "work")
        sha = await commit(work, "x", "1", "Work", branch="fix")
        await succeed("push", "--quiet", "origin", "fix", cwd=work)
        made = await http.post(
            f"{ready['api_url']}/repos/rehearsal/demo/pulls",
            headers=bearer(you),
            json={"title": "Fix", "head": "fix", "base": "main"},
        )
        assert made.status_code == 201
        alice = ready["seeded"]["people"]["alice"]
        assert (await http.get(issues, headers=bearer(alice))).status_code == 200
    for secret_file in (tmp_path / "you.token", data / "admin-token"):
        assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600

    async with running(data, "--seed", "-", stdin=seed) as ready, httpx.AsyncClient(trust_env=False) as http:
        assert ready["seeded"]["repositories"]["rehearsal/demo"]["created"] is False
        assert (tmp_path / "you.token").read_text() == you
        pulls = (await http.get(f"{ready['api_url']}/repos/rehearsal/demo/pulls", headers=bearer(you))).json()
        assert [(row["number"], row["head"]["sha"]) for row in pulls] == [(2, sha)]
        assert pulls[0]["html_url"].startswith(ready["url"])
        found = await http.get(f"{ready['api_url']}/app/installations", headers=bearer(app_jwt(system_clock())))
        assert [row["id"] for row in found.json()] == [installation]
        new = await http.post(
            f"{ready['api_url']}/repos/rehearsal/demo/issues", headers=bearer(you), json={"title": "Next"}
        )
        assert new.json()["number"] == 3


async def test_another_process_fills_and_watches_it_through_its_own_door(tmp_path):
    async with Forge(tmp_path / "forge") as forge, httpx.AsyncClient(base_url=forge.url, trust_env=False) as http:
        assert (await http.get("/_forge/health")).json() == {"status": "ok", "url": forge.url, "api_url": forge.api_url}
        assert (await http.get("/_forge/calls")).status_code == 401
        assert (await http.post("/_forge/seed", headers=bearer("guess"), json={})).status_code == 401
        admin = bearer(forge.admin_token_file.read_text())
        rebound = await http.get("/_forge/calls", headers={**admin, "host": "evil.example"})
        assert rebound.status_code == 421
        answer = await http.post("/_forge/seed", headers=admin, json=a_seed(tmp_path))
        assert answer.status_code == 200, answer.text
        assert forge.repository("rehearsal/demo") is not None
        drained = await http.post("/_forge/drain", headers=admin)
        assert drained.json() == {"deliveries": 2}
        fault = await http.post("/_forge/faults", headers=admin, json={"path": "/meta$", "status": 503})
        assert fault.json() == {"waiting": 1}
        assert (await http.get("/api/v3/meta")).status_code == 503
        calls = (await http.get("/_forge/calls", headers=admin)).json()
        assert [(row["path"], row["status"]) for row in calls] == [("/api/v3/meta", 503)]


@pytest.mark.parametrize(
    "seed",
    [
        {"repos": []},
        {"repositories": [{"owner": "a b", "name": "x"}]},
        {"repositories": [{"owner": "a", "name": "../x"}]},
        {"repositories": [{"owner": "a", "name": "x", "apps": [99]}]},
        {"repositories": [{"owner": "a", "name": "x", "roles": {"y": "king"}}]},
        {"apps": [{"id": 1, "slug": "s", "public_key": "not a key"}]},
        {"apps": [{"id": 1, "slug": "s", "public_key_file": "/nonexistent"}]},
    ],
)
async def test_a_seed_that_makes_no_sense_is_refused_with_the_reason(tmp_path, seed):
    async with Forge(tmp_path / "forge") as forge, httpx.AsyncClient(base_url=forge.url, trust_env=False) as http:
        answer = await http.post("/_forge/seed", headers=bearer(forge.admin_token_file.read_text()), json=seed)
        assert answer.status_code == 422
        assert len(answer.json()["error"]) > 10


async def test_a_start_that_fails_says_why(tmp_path):
    async with Forge(tmp_path / "forge") as forge:
        port = forge.url.rsplit(":", 1)[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "infra.local.forge", "--data", str(tmp_path / "second"), "--port", port),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"Address already in use" in errors
    assert b"The local forge did not start" in errors
    assert b"Traceback" not in errors


async def test_two_processes_do_not_share_a_folder(tmp_path):
    async with running(tmp_path / "forge"):
        with pytest.raises(OSError, match="in use by another local forge"):
            Forge(tmp_path / "forge")


async def test_names_are_checked_and_taken_once(tmp_path):
    async with forge_world(tmp_path) as github:
        for owner, name in (("acme", ".."), ("-x", "y"), ("acme", "a/b"), ("acme", "x.git")):
            with pytest.raises(Invalid):
                await github.forge.create_repository(owner, name)
        with pytest.raises(ValueError, match="exists already"):
            await github.forge.create_repository("ACME", "Shop")


async def test_ids_are_not_given_twice_even_after_what_had_them_is_gone(tmp_path):
    async with forge_world(tmp_path) as github:
        await github.forge.open_issue(github.repo, "t")
        path, headers = f"{github.path}/issues/1/comments", bearer(github.person)
        first = (await github.http.post(path, headers=headers, json={"body": "gone"})).json()["id"]
        await github.http.delete(f"{github.path}/issues/comments/{first}", headers=headers)
    async with Forge(tmp_path / "forge") as again:
        assert again.world.new_id() > first
