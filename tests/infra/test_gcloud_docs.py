"""Every gcloud command that we tell people to type is one that gcloud knows: checked by gcloud's own linter, offline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import gcloud_commands

FILES = [
    path
    for path in (*gcloud_commands.PAGES, *gcloud_commands.SCRIPTS, *gcloud_commands.TERRAFORM)
    if gcloud_commands.of(path)
]
COMMANDS = {path: gcloud_commands.of(path) for path in FILES}
MISSING = (
    ""
    if shutil.which("gcloud")
    else "NO GCLOUD: https://cloud.google.com/sdk/docs/install; the commands in docs stay unchecked"
)


def lint(commands, folder):
    """What gcloud's linter says to each command; empty when it is right."""
    given = folder / "commands.json"
    given.write_text(json.dumps([{"command_string": command} for command in commands]))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder / "config"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", "--commands-file", str(given)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        {"command": answer["command_string"], "wrong": answer["error_message"]}
        for answer in json.loads(done.stdout)
        if not answer["success"]
    ]


def test_commands_are_found_where_they_stand():
    text = "curl \"$(gcloud run services describe a --format 'value(status.url)')/health\" | gcloud secrets versions add b --data-file=-\n"
    assert gcloud_commands.in_shell(text) == [
        "gcloud run services describe a --format 'value(status.url)'",
        "gcloud secrets versions add b --data-file=-",
    ]


def test_the_pages_say_what_they_are_known_for():
    deploy = next(commands for path, commands in COMMANDS.items() if path.name == "deploy.md")
    for start in (
        "gcloud run deploy claude-code-runner",
        "gcloud run deploy pullwright-dispatcher --source . --function dispatch",
        "gcloud run services describe claude-code-runner --region us-central1 --format 'value(status.url)'",
        "gcloud run services logs read claude-code-runner",
        "gcloud run jobs execute",
        "gcloud tasks list",
        "gcloud secrets versions add",
    ):
        assert [command for command in deploy if command.startswith(start)], start
    assert len(deploy) > 40
    assert len(OURS) == 2


OURS = [
    line.split()[1:]
    for line in (gcloud_commands.ROOT / "docs" / "deploy.md").read_text().splitlines()
    if line.startswith(".venv/bin/pullwright ")
]


@pytest.mark.parametrize("command", OURS, ids=" ".join)
def test_our_own_commands_have_these_options(command):
    program = Path(sys.executable).parent / "pullwright"
    done = subprocess.run([str(program), *command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_gcloud_knows_every_command(tmp_path):
    commands = sorted({command for found in COMMANDS.values() for command in found})
    assert lint(commands, tmp_path) == []


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_linter_finds_mistakes(tmp_path):
    wrong = ["gcloud run service describe a", "gcloud run deploy a --imag b", "gcloud run deploy a --concurrency many"]
    assert len(lint(wrong, tmp_path)) == 3
