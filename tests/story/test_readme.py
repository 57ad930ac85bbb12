"""The README tells the truth: every command in it is executed here, as it stands there but for port, key and run."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.world.stack import program_environment

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
MAKE = {"make demo": "pullwright demo", "make test": "pytest", "make up": "pullwright up"}
"""What stands behind each verb; the demo and ``up`` themselves are run in test_main_job.py, and this is ``make test``."""


def here(command, up, run=""):
    return command.replace("http://127.0.0.1:3001", up.url).replace("$RUN", run).replace("$KEY", up.key)


def test_there_is_no_command_that_this_file_does_not_know():
    assert [command for command in COMMANDS if command.strip() not in MAKE and not command.startswith("curl ")] == []
    assert len([command for command in COMMANDS if command.startswith("curl ")]) == 2


@pytest.mark.parametrize("verb", MAKE)
def test_make_verbs_do_what_the_readme_says(verb):
    planned = subprocess.run([*verb.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert MAKE[verb] in planned


def test_the_curl_calls_work_word_for_word(up):
    dispatch, follow = (command for command in COMMANDS if command.startswith("curl "))
    environment = program_environment()
    said = subprocess.run(
        ["bash", "-c", here(dispatch, up)], capture_output=True, text=True, check=True, timeout=90, env=environment
    )
    result = json.loads(said.stdout)
    assert result["status"] == "succeeded", result
    assert result["pr_url"].startswith(up.forge)
    followed = subprocess.run(
        ["bash", "-c", here(follow, up, result["run_id"])],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=environment,
    )
    assert followed.stdout.startswith("id: 1\nevent: phase\n")
    assert "event: end" in followed.stdout
