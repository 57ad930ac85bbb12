"""A run of the real agent, recorded, and played again without a model: files, ledger and ending come out the same."""

import gzip
import json
import subprocess

import pytest

from infra.local.bucket import FolderBucket
from runner.answer_text import Moving, rewritten
from tests.world.stack import BIN, program_environment


def artifact(up, run_id, name):
    return up.http.get(f"/api/runs/{run_id}/artifacts/{name}").raise_for_status().content


def replay(up, run_id, *options):
    return subprocess.run(
        [BIN / "pullwright", "replay", run_id, "--data", up.data, *options],
        cwd=up.folder,
        env=program_environment(COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def recorded(up):
    """A finished run of an installation that keeps cassettes."""
    run = up.dispatch().json()
    assert run["status"] == "succeeded", run
    return up.run(run["run_id"])


def test_the_ledger_adds_up_to_what_was_settled(up, recorded):
    lines = [json.loads(line) for line in artifact(up, recorded["id"], "ledger.jsonl").splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == recorded["turns"]
    assert sum(line["cost_micros"] for line in lines) == round(recorded["cost_usd"] * 1_000_000)
    assert sum(line["output_tokens"] for line in lines) == recorded["tokens"]["output"]
    assert {(line["status"], line["ended"], line["counted"]) for line in lines} == {(200, "whole", "full")}
    assert recorded["discrepancy"] is None  # the agent's own account is the same


def test_the_same_run_without_a_model_comes_out_the_same(up, recorded):
    done = replay(up, recorded["id"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "different " not in done.stdout, done.stdout
    assert done.stdout.count("\nsame ") == 3
    assert f"{recorded['turns']} recorded, {recorded['turns']} asked alike, 0 differently" in done.stdout
    assert "Not compared: " in done.stdout
    assert "note:" not in done.stdout


async def test_another_answer_is_noticed_and_the_file_named(up, recorded):
    name = "cassette.jsonl.gz"
    kept = artifact(up, recorded["id"], name)
    header, *lines, ending = gzip.decompress(kept).splitlines()
    exchanges = [json.loads(line) for line in lines]
    for exchange in exchanges:
        spoken = [text.encode() for _, text in exchange["chunks"]]
        other = rewritten(spoken, Moving({"share + 1": "share + 2"}), stream=True)
        exchange["chunks"] = [[0, text.decode()] for text in other]
    changed = gzip.compress(b"\n".join([header, *(json.dumps(each).encode() for each in exchanges), ending]) + b"\n")
    await put(up, recorded["id"], name, changed)
    try:
        done = replay(up, recorded["id"])
    finally:
        await put(up, recorded["id"], name, kept)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "different files" in done.stdout
    assert "not the same: invoices/instalments.py" in done.stdout
    assert "first difference: exchange" in done.stdout  # the tests that the agent ran have failed


async def put(up, run_id, name, content):
    async def pieces():
        yield content

    bucket = FolderBucket(up.data / "artifacts")
    await bucket.put(f"runs/{run_id}/{name}", pieces(), content_type="application/gzip", max_bytes=10**7)
    await bucket.close()


def test_what_cannot_be_replayed_is_said(up, recorded, tmp_path):
    nothing = replay(up, "run-00000000000000000000000000")
    assert nothing.returncode == 1
    assert "There is no run" in nothing.stderr
    elsewhere = subprocess.run(
        [BIN / "pullwright", "replay", recorded["id"], "--data", tmp_path],
        cwd=tmp_path,
        env=program_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert elsewhere.returncode == 1
    assert "There is no installation" in elsewhere.stderr
