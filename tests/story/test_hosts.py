"""The same run on the other two hosts: a job's process and a person's terminal, with the real CLI and the scripted model."""

import asyncio
import sys

import pytest

from infra.core.run import State
from infra.local.forge.server import Server
from infra.local.processes import free_port
from infra.local.rehearsal.catalogue import load_rehearsal
from tests.world.control_plane import control_plane
from tests.world.model import KEY, scripted_model, shipped_scripts
from tests.world.stack import BIN, program_environment

JOB = [sys.executable, "-m", "runner.job"]


@pytest.fixture
async def plane(tmp_path):
    """The control plane on a socket, in front of the rehearsal repository and the scripted model."""
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


async def host(argv, tmp_path, **environment):
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=tmp_path,
        env=program_environment(WORK_DIR=str(tmp_path / "work"), **environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode, said.decode()


async def test_a_job_works_on_the_run_that_its_environment_names(plane, tmp_path):
    run = await plane.new_run(task=load_rehearsal().demo.context)
    job = plane.runner().job
    names = {"RUN_ID": job.run_id, "RUN_TOKEN": job.token, "GATEWAY_URL": job.gateway_url}
    status, said = await host(JOB, tmp_path, **names)
    assert status == 0, said
    run = await plane.run(run.id)
    assert run.state is State.SUCCEEDED, said
    assert run.delivered.files_changed == 2
    assert job.token not in said
    # a second execution finds nothing to do and says so quietly
    status, said = await host(JOB, tmp_path, **names)
    assert status == 0, said


async def test_a_person_starts_the_same_run_in_a_terminal(plane, tmp_path):
    run = await plane.new_run(task=load_rehearsal().demo.context)
    job = plane.runner().job
    argv = [BIN / "claude-runner", "start", "--run-id", job.run_id, "--token", job.token]
    status, said = await host(argv, tmp_path, GATEWAY_URL=job.gateway_url)
    assert status == 0, said
    assert f"{run.id}: succeeded" in said
    assert (await plane.run(run.id)).state is State.SUCCEEDED


@pytest.mark.parametrize("missing", ["RUN_ID", "RUN_TOKEN", "GATEWAY_URL"])
async def test_a_job_without_its_settings_names_the_one_that_is_missing(tmp_path, missing):
    given = {"RUN_ID": "run-" + "0" * 26, "RUN_TOKEN": "x", "GATEWAY_URL": "http://127.0.0.1:9"}
    del given[missing]
    status, said = await host(JOB, tmp_path, **given)
    assert status == 1
    assert f"{missing} not set" in said
