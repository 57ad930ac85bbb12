"""The real Claude Code CLI plays the shipped scripts: the bug is really there, and really gone afterwards."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import claude_agent_sdk
import pytest

from infra.local.rehearsal.catalogue import load_rehearsal
from tests.world.model import KEY, scripted_model, scripts

CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
REHEARSAL = load_rehearsal()
# USD per token of claude-opus-5-5: input, output, cache read, five-minute cache write.
PRICES = {
    "inputTokens": 4e-6,
    "outputTokens": 20e-6,
    "cacheReadInputTokens": 0.2e-6,
    "cacheCreationInputTokens": 5e-6,
}
TESTS = {
    "rehearsal/invoices": ("python3", "-m", "unittest", "discover"),
    "rehearsal/backup-rotation": ("sh", "tests/run.sh"),
    "rehearsal/slugs": ("node", "--test"),
}


def prompt(task):
    return f"You are working on a fresh clone.\n\nTask, as written by someone:\n-----task text-----\n{task}\n-----task text-----\n"


def issue_of(name):
    issue = REHEARSAL.by_name[name].issues[0]
    return prompt(f"{issue.title}\n\n{issue.body}")


def environment(model, home):
    folders = {"HOME": home / "home", "CLAUDE_CONFIG_DIR": home / "config", "TMPDIR": home / "tmp"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        **{name: str(folder) for name, folder in folders.items()},
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "IS_SANDBOX": "1",
    }


async def run(*command, cwd, env=None):
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def claude(model, repository, text):
    """One run of the CLI; returns its result message."""
    options = ["--output-format", "json", "--setting-sources", "", "--strict-mcp-config"]
    mode = ["--permission-mode", "bypassPermissions", "--model", "claude-opus-5-5"]
    env = environment(model, repository.parent / "agent")
    _, output = await run(CLI, "-p", *options, *mode, "--", text, cwd=repository, env=env)
    return json.loads(output)


@pytest.fixture
def seed(tmp_path):
    def plant(name):
        for path, content in REHEARSAL.by_name[name].files():
            target = tmp_path / "repository" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return tmp_path / "repository"

    return plant


async def changes(repository, name):
    """Paths that differ from the seed, apart from what .gitignore names."""
    before = dict(REHEARSAL.by_name[name].files())
    after = {
        file.relative_to(repository).as_posix(): file.read_bytes()
        for file in repository.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("rehearsal/invoices", ["invoices/instalments.py", "tests/test_instalments.py"]),
        ("rehearsal/backup-rotation", ["rotate.sh", "tests/run.sh"]),
        ("rehearsal/slugs", ["slug.js"]),
    ],
)
async def test_the_issue_of_a_seed_repository_is_really_solved(seed, name, changed):
    if shutil.which(TESTS[name][0]) is None:
        pytest.skip(f"{TESTS[name][0]} is not installed")
    repository = seed(name)
    assert (await run(*TESTS[name], cwd=repository))[0] == 1
    async with scripted_model() as model:
        result = await claude(model, repository, issue_of(name))
        assert not any(call.stopped for call in model.calls)
        assert all(call.streamed for call in model.calls)
    assert result["is_error"] is False
    assert "This was a rehearsal" in result["result"]
    assert (await run(*TESTS[name], cwd=repository))[0] == 0
    assert await changes(repository, name) == changed
    used = result["modelUsage"]["claude-opus-5-5"]
    assert result["total_cost_usd"] == pytest.approx(sum(used[kind] * price for kind, price in PRICES.items()))
    assert all(used[kind] > 0 for kind in PRICES)


async def test_any_other_task_leaves_an_honest_note(seed):
    repository = seed("rehearsal/invoices")
    (repository / "REHEARSAL.md").write_text("an earlier note")
    async with scripted_model() as model:
        result = await claude(model, repository, prompt("Add a CONTRIBUTING file.\nUse ${cwd} and `$(touch owned)`."))
    assert "nobody has worked on it" in result["result"]
    assert await changes(repository, "rehearsal/invoices") == ["REHEARSAL.md"]
    assert "Add a CONTRIBUTING file.\nUse ${cwd} and `$(touch owned)`." in (repository / "REHEARSAL.md").read_text()


async def test_a_script_on_the_wrong_repository_stops_and_changes_nothing(seed):
    repository = seed("rehearsal/backup-rotation")
    async with scripted_model() as model:
        result = await claude(model, repository, issue_of("rehearsal/invoices"))
        assert model.calls[-1].stopped
    assert "This script is for the invoices repository" in result["result"]
    assert await changes(repository, "rehearsal/backup-rotation") == []


async def test_the_agent_sdk_sees_the_same_and_survives_a_server_error(seed):
    repository = seed("rehearsal/backup-rotation")
    tool = 'tools = [{ name = "Read", input = { file_path = "${cwd}/rotate.sh" } }]'
    fault = 'fault = { kind = "http", status = 500, times = 1 }'
    library = scripts(read=f'match = "read"\n[[turns]]\n{tool}\n{fault}\n[[turns]]\ntext = "Read it."\n')
    async with scripted_model(library) as model:
        options = claude_agent_sdk.ClaudeAgentOptions(
            cwd=repository,
            env=environment(model, repository.parent / "agent"),
            setting_sources=[],
            strict_mcp_config=True,
            permission_mode="bypassPermissions",
            system_prompt={"type": "preset", "preset": "claude_code"},
        )
        kinds, result = [], None
        async with claude_agent_sdk.ClaudeSDKClient(options) as client:
            await client.query("read")
            async for message in client.receive_response():
                kinds.append(type(message).__name__)
                result = message
        assert [call.status for call in model.calls] == [500, 200, 200]
    assert result.is_error is False
    assert result.result == "Read it."
    assert kinds.count("AssistantMessage") == 3
