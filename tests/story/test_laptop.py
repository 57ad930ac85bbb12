"""The runner on a person's machine: claude-runner and rev-runner as programs, against a real control plane and model script."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys

import pytest

from infra.core.run import State
from infra.core.timeline import EventType
from infra.local.forge.server import Server
from infra.local.processes import free_port
from infra.local.rehearsal.catalogue import load_rehearsal
from tests.world.control_plane import control_plane
from tests.world.model import KEY, scripted_model, shipped_scripts
from tests.world.stack import program_environment

CLAUDE = [sys.executable, "-c", "from runner.cli import main; main()"]
REV = [sys.executable, "-c", "from runner.cli import rev; rev()"]
GIT = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@b"}

TMATE = """#!/bin/sh
echo "$*" >> "{calls}"
case "$*" in *display*) echo "ssh Xy7Zk@nyc1.tmate.example";; esac
"""


@pytest.fixture
async def plane(tmp_path):
    port = free_port()
    demo = load_rehearsal().by_name[load_rehearsal().demo.repository]
    async with (
        scripted_model(shipped_scripts()) as model,
        control_plane(
            tmp_path,
            files=demo.path,
            public_url=f"http://127.0.0.1:{port}",
            anthropic_base_url=model.url,
            anthropic_api_key=KEY,
        ) as running,
    ):
        server = Server(running.app, port=port)
        await server.start()
        yield running
        await server.stop()


async def begin(argv, folder, job, **environment):
    environment.setdefault("GATEWAY_URL", job.gateway_url)
    return await asyncio.create_subprocess_exec(
        *argv,
        cwd=folder,
        env=program_environment(WORK_DIR=str(folder / "work"), **environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def finished(process):
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode, said.decode()


def of(job, *more):
    return ["start", "--run-id", job.run_id, "--token", job.token, *more]


async def new_job(plane, task=None):
    await plane.new_run(task=task or load_rehearsal().demo.context)
    return plane.runner().job


async def _events(plane, job):
    page = await plane.http.get(f"/api/runs/{job.run_id}/events?limit=500", headers=await plane.key())
    return page.json()["events"]


async def until(condition, seconds=60):
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


def clone(url, folder):
    environment = program_environment(GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0")
    subprocess.run(["git", "clone", "-q", url, folder], check=True, capture_output=True, env=environment)


async def at_work(plane, job):
    async def begun():
        return any(event["type"] == EventType.STDOUT for event in await _events(plane, job))

    await until(begun)


async def test_a_person_watches_a_run_and_finds_its_log(plane, tmp_path):
    job = await new_job(plane)
    status, said = await finished(await begin([*CLAUDE, *of(job)], tmp_path, job))
    assert status == 0, said
    assert "▸ working" in said
    assert "⚒ Bash:" in said
    assert "\x1b[" not in said  # plain lines: this is no terminal
    log = (tmp_path / ".data" / "runs" / job.run_id / "claude.log").read_text()
    assert "marker" in log.splitlines()[-1]
    assert "git log --oneline" in log
    assert job.token not in log
    kept = await plane.http.get(f"/api/runs/{job.run_id}/artifacts/claude.log", headers=await plane.key())
    assert kept.text == log
    markers = [event["data"] for event in await _events(plane, job) if event["type"] == "marker"]
    assert [marker["name"] for marker in markers] == ["started", "finished"]
    assert markers[0]["command"].startswith("claude ")
    assert markers[1]["exitCode"] == 0


async def test_in_a_person_s_own_folder_the_change_stays_there(plane, tmp_path):
    job = await new_job(plane)
    own = tmp_path / "own"
    shutil.copytree(load_rehearsal().by_name[load_rehearsal().demo.repository].path, own)

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=own, check=True, capture_output=True, text=True, env={**os.environ, **GIT}
        ).stdout

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "Mine")
    head, owner = git("rev-parse", "HEAD"), (own / "invoices").stat().st_uid
    status, said = await finished(await begin([*CLAUDE, *of(job, "--cwd", str(own))], tmp_path, job))
    assert status == 0, said
    assert "nothing was published" in said
    assert git("rev-parse", "HEAD") == head
    assert "divmod" in git("diff")
    assert (own / "invoices").stat().st_uid == owner
    run = await plane.run(job.run_id)
    assert (run.state, run.reason.code) == (State.NO_CHANGES, "kept_local")


async def test_with_push_a_person_s_own_folder_becomes_a_pull_request_too(plane, tmp_path):
    job = await new_job(plane)
    own = tmp_path / "own"
    await asyncio.to_thread(clone, plane.github.clone_url(plane.github.person), own)
    status, said = await finished(await begin([*CLAUDE, *of(job, "--cwd", str(own), "--push")], tmp_path, job))
    assert status == 0, said
    run = await plane.run(job.run_id)
    assert run.state is State.SUCCEEDED
    assert run.delivered.files_changed == 2
    assert (own / ".git").is_dir()


async def test_a_folder_that_is_no_repository_is_refused(plane, tmp_path):
    job = await new_job(plane)
    status, said = await finished(await begin([*CLAUDE, *of(job, "--cwd", str(tmp_path))], tmp_path, job))
    assert status == 1
    assert "not the top of a git repository" in said


async def test_a_command_can_be_the_agent(plane, tmp_path):
    job = await new_job(plane)
    status, said = await finished(await begin([*REV, *of(job, "--cmd", "touch made-by-rev")], tmp_path, job))
    assert status == 0, said
    run = await plane.run(job.run_id)
    assert (run.state, run.delivered.files_changed) == (State.SUCCEEDED, 1)
    started = next(event["data"] for event in await _events(plane, job) if event["type"] == "marker")
    assert started["command"] == "touch made-by-rev"


async def test_the_exit_code_of_a_command_is_passed_on(plane, tmp_path):
    job = await new_job(plane)
    script = (
        "import os, sys; print('task:', len(os.environ['PROMPT']) > 20); print('bad', file=sys.stderr); sys.exit(7)"
    )
    status, said = await finished(await begin([*REV, *of(job, "--cmd", f'python3 -c "{script}"')], tmp_path, job))
    assert status == 7, said
    told = {event["type"]: event["data"].get("text") for event in await _events(plane, job)}
    assert (told["stdout"], told["stderr"]) == ("task: True\n", "bad\n")
    finish = [event["data"] for event in await _events(plane, job) if event["type"] == "marker"][-1]
    assert (finish["name"], finish["exitCode"]) == ("finished", 7)


WAIT = "python3 -u -c \"import time; print('here'); time.sleep(300)\""


async def test_ctrl_c_stops_the_run_and_keeps_what_there_is(plane, tmp_path):
    job = await new_job(plane)
    process = await begin([*REV, *of(job, "--cmd", WAIT)], tmp_path, job)
    await at_work(plane, job)
    process.send_signal(signal.SIGINT)
    status, said = await finished(process)
    assert status == 130, said
    assert (await plane.run(job.run_id)).state is State.CANCELLED


async def test_assist_shares_a_terminal_for_as_long_as_the_run_lasts(plane, tmp_path):
    job = await new_job(plane)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "tmate").write_text(TMATE.format(calls=tmp_path / "calls"))
    (programs / "tmate").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    process = await begin([*REV, *of(job, "--cmd", WAIT)], tmp_path, job)
    await at_work(plane, job)
    arguments = ["assist", "--run-id", job.run_id, "--token", job.token]
    assist = await begin([*CLAUDE, *arguments], tmp_path, job, PATH=path)

    async def shown():
        return [event["data"] for event in await _events(plane, job) if event["type"] == "assist"]

    await until(shown)
    assert await shown() == [{"type": "tmate", "url": "ssh Xy7Zk@nyc1.tmate.example"}]
    process.send_signal(signal.SIGINT)
    await finished(process)
    status, said = await finished(assist)
    assert (status, "assist: ssh Xy7Zk" in said) == (0, True), said
    assert "kill-server" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    ("environment", "words"),
    [({"PATH": "/usr/bin:/bin"}, "No runner of this machine works"), ({"ASSIST": "off"}, "no terminal is shared here")],
)
async def test_assist_says_what_is_missing(plane, tmp_path, environment, words):
    job = await new_job(plane)
    if shutil.which("tmate", path="/usr/bin:/bin") is None and "PATH" in environment:
        words = "Install it: apt-get install tmate"
    arguments = ["assist", "--run-id", job.run_id, "--token", job.token]
    status, said = await finished(await begin([*CLAUDE, *arguments], tmp_path, job, **environment))
    assert status == 1
    assert words in said


async def test_the_connection_can_be_tried(plane, tmp_path):
    job = await new_job(plane)
    arguments = ["test-connection", "--run-id", job.run_id, "--token", job.token]
    status, said = await finished(await begin([*CLAUDE, *arguments], tmp_path, job))
    assert status == 0, said
    assert said.count("ok ") == 2
    wrong = [*arguments[:-1], job.token[:-2] + "xx"]
    status, said = await finished(await begin([*CLAUDE, *wrong], tmp_path, job))
    assert status == 1
    assert "FAILED token and signature" in said
    status, said = await finished(await begin([*CLAUDE, *arguments], tmp_path, job, GATEWAY_URL="http://127.0.0.1:9"))
    assert status == 1
    assert "FAILED the gateway answers" in said
    refused = {"GATEWAY_URL": "https://elsewhere.example", "ALLOW_SELF_SIGNED": "true"}
    status, said = await finished(await begin([*CLAUDE, *arguments], tmp_path, job, **refused))
    assert status == 1
    assert "only for a gateway on this machine" in said


async def test_info_shows_settings_and_no_secret(plane, tmp_path):
    job = await new_job(plane)
    (tmp_path / ".env").write_text("HMAC_SECRET=very-secret-words\nQUESTION_SECONDS=77\n")
    status, said = await finished(await begin([*CLAUDE, "info"], tmp_path, job))
    assert status == 0, said
    assert "very-secret-words" not in said
    assert "77" in said
    assert job.gateway_url in said
