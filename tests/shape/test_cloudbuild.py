"""cloudbuild.yaml fits Cloud Build's published schema, and each of its steps is a program that is there."""

import json
import os
import re
import subprocess

import jsonschema
import pytest
import yaml

from tests.docs import ROOT

SCHEMA = json.loads((ROOT / "tests" / "data" / "cloudbuild_schema.json").read_text())
BUILD = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
STEPS = {step["id"]: step for step in BUILD["steps"]}
SCRIPTS = sorted((ROOT / ".ci").iterdir())
BUILT_IN = {"PROJECT_ID", "BUILD_ID"}


def test_it_fits_the_schema():
    jsonschema.validate(BUILD, SCHEMA)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda build: build["steps"][0].update(entry="bash"),
        lambda build: build["options"].update(logging="EVERYWHERE"),
        lambda build: build.update(steps="none"),
    ],
)
def test_the_schema_finds_mistakes(break_it):
    broken = json.loads(json.dumps(BUILD))
    break_it(broken)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_each_step_waits_for_what_it_needs():
    before = {name: set(step.get("waitFor", [])) for name, step in STEPS.items()}
    assert before == {
        "check-and-test": set(),
        "dispatcher-image": {"check-and-test"},
        "runner-image": {"check-and-test"},
        "deploy": {"dispatcher-image", "runner-image"},
        "smoke-test": {"deploy"},
        "traffic": {"smoke-test"},
    }


@pytest.mark.parametrize("step", STEPS.values(), ids=lambda step: step["id"])
def test_a_step_runs_a_script_of_ours(step):
    named = re.findall(r"\.ci/\w+", " ".join([step.get("entrypoint", ""), *step.get("args", [])]))
    assert named, step
    assert all(os.access(ROOT / name, os.X_OK) for name in named)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_stop_at_the_first_failure(script):
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_every_substitution_is_declared_and_used():
    texts = [(ROOT / "cloudbuild.yaml").read_text(), *(path.read_text() for path in SCRIPTS)]
    steps = "\n".join(texts)
    used = set(re.findall(r"\$\{?(_[A-Z]+)\b", steps))
    assert used == set(BUILD["substitutions"])
    assert set(re.findall(r"\$\{?([A-Z]+_ID)\b", steps)) <= BUILT_IN


def test_the_identity_is_the_one_that_terraform_makes():
    account = re.search(r'account_id +\= "([\w-]+)"', (ROOT / "terraform" / "build.tf").read_text()).group(1)
    assert (
        BUILD["serviceAccount"] == f"projects/$PROJECT_ID/serviceAccounts/{account}@$PROJECT_ID.iam.gserviceaccount.com"
    )
