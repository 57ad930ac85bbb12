"""Deployment from source: the function starts as Google's buildpack starts it, and what is uploaded is what it needs."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import pytest

from infra.local.processes import free_port
from tests.docs import ROOT


def test_the_function_starts_as_the_buildpack_starts_it(tmp_path):
    """It sets FUNCTION_TARGET and, from GOOGLE_FUNCTION_SOURCE at build time, FUNCTION_SOURCE, and calls the framework in the
    folder that was uploaded."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "FUNCTION_TARGET": "dispatch",
        "FUNCTION_SOURCE": "dispatcher/main.py",
        "PORT": str(port),
        "DATA_DIR": str(tmp_path / "data"),
    }
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "functions-framework")],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=10, trust_env=False)
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(20)
    assert answer.json()["status"] == "ok"


def test_the_buildpack_finds_what_to_install():
    """It reads pyproject.toml where there is no requirements.txt, and then the framework has to be named there.
    https://cloud.google.com/docs/buildpacks/python"""
    assert not (ROOT / "requirements.txt").exists()
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [name for name in dependencies if name.startswith("functions-framework")]


@pytest.mark.skipif(
    shutil.which("gcloud") is None,
    reason="NO GCLOUD: https://cloud.google.com/sdk/docs/install; what is uploaded stays unchecked",
)
def test_what_is_uploaded_is_the_repository_without_what_was_made_in_it(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }
    folder = tmp_path / "repository"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in (*tracked.split("\0"), ".gcloudignore"):
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    made = (
        ".env",
        ".venv/bin/python",
        ".data/state.db",
        "terraform/terraform.tfvars",
        "terraform/.terraform/x",
        "infra/__pycache__/x.pyc",
    )
    for name in made:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("made here")
    done = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    uploaded = set(done.stdout.split("\n"))
    assert {
        "dispatcher/main.py",
        "infra/settings.py",
        "pyproject.toml",
        "requirements.lock",
        "runner/Dockerfile",
        ".ci/run",
        "cloudbuild.yaml",
        "Makefile",
    } <= uploaded
    assert uploaded.isdisjoint(made)
