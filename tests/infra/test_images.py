"""The images: what can be read off the Dockerfiles always, and the real thing, built and started, at the long level."""

import re
import subprocess
import time

import httpx
import pytest

from infra.local.processes import free_port
from tests.world import images

DOCKERFILES = {name: (images.ROOT / name / "Dockerfile").read_text() for name in ("dispatcher", "runner")}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_layers_go_from_what_seldom_changes_to_what_often_does(name):
    final = DOCKERFILES[name].rpartition("\nFROM ")[2]
    copies = re.findall(r"^COPY --from=(\w+)", final, re.MULTILINE)
    assert copies[-2:] == ["dependencies", "code"]
    assert "RUN" not in final.partition("COPY --from=dependencies")[2], "nothing is made after the code is there"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_everything_installed_is_pinned_by_hash_and_compiled(name):
    installs = re.findall(r"pip install ([^\n\\]*)", DOCKERFILES[name])
    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-deps --no-build-isolation" in part for part in installs)
    assert DOCKERFILES[name].count("compileall") == 2
    assert not re.search(r"^(ADD|ARG \w*(TOKEN|SECRET|KEY))", DOCKERFILES[name], re.MULTILINE)


def test_the_dispatcher_is_nobody():
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", DOCKERFILES["dispatcher"], re.MULTILINE)


def test_the_context_holds_what_the_images_copy_and_no_more():
    allowed = {line[1:] for line in (images.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        part
        for text in DOCKERFILES.values()
        for line in re.findall(r"^COPY (?!--from)(.*)", text, re.MULTILINE)
        for part in line.split()[:-1]
    }
    assert copied <= {part for part in allowed if "*" not in part} | {
        part for part in copied if re.fullmatch(r"requirements.*\.lock", part)
    }
    assert allowed == {part for part in copied if not part.startswith("requirements")} | {"requirements*.lock"}


needs_builder = pytest.mark.skipif(bool(images.missing()), reason=images.missing())


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    made = images.Builder(tmp_path_factory.mktemp("images"))
    made.make_bases()
    return made


@pytest.fixture(scope="module")
def dispatcher(builder):
    with builder.container(builder.build("dispatcher")) as name:
        yield name


@pytest.fixture(scope="module")
def runner(builder):
    with builder.container(builder.build("runner")) as name:
        yield name


def answers(builder, container, log, path, *argv, **environment):
    """Starts the program, waits for its answer, stops it; what it wrote is in ``log``."""
    port = free_port()
    command = builder.command(container, *argv, PORT=port, **environment)
    with log.open("w") as out:
        process = subprocess.Popen(command, env=builder.environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10, trust_env=False).json()
                except httpx.TransportError:
                    time.sleep(0.2)
            raise AssertionError(log.read_text())
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.full
@pytest.mark.timeout(1500)
@needs_builder
def test_the_dispatcher_s_image_serves_and_writes_nothing(builder, dispatcher, tmp_path):
    command = ["functions-framework", "--target", "dispatch", "--source", "/opt/app/dispatcher/main.py"]
    assert str(command).replace("'", '"') in DOCKERFILES["dispatcher"]
    health = answers(builder, dispatcher, tmp_path / "log", "/health", *command, DATA_DIR="/tmp/data")
    assert health["status"] == "ok"
    assert "ERROR" not in (tmp_path / "log").read_text()
    assert builder.run(dispatcher, "id", "-u").stdout.strip() == "10001"
    assert builder.run(dispatcher, "touch", "/opt/app/x").returncode != 0


COMPILED = """
import pathlib, sys
for root in ("/opt/app", *(path for path in sys.path if path.endswith("site-packages"))):
    sources = [path for path in pathlib.Path(root).rglob("*.py") if "rehearsal" not in path.parts]
    missing = [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))]
    print(len(sources), *missing[:3])
"""


@pytest.mark.full
@pytest.mark.timeout(1500)
@needs_builder
@pytest.mark.parametrize("image", ["dispatcher", "runner"])
def test_every_module_has_its_bytecode(builder, image, request):
    container = request.getfixturevalue(image)
    lines = builder.run(container, "python", "-c", COMPILED).stdout.split("\n")
    counts = [line.split() for line in lines if line]
    assert counts
    assert all(int(count) > 50 and not missing for count, *missing in counts), counts


@pytest.mark.full
@pytest.mark.timeout(1500)
@needs_builder
def test_the_runner_s_image_serves(builder, runner, tmp_path):
    health = answers(
        builder, runner, tmp_path / "log", "/health", "python", "-m", "runner.service", ENVIRONMENT="production"
    )
    assert health["status"] == "ok"


@pytest.mark.full
@pytest.mark.timeout(1500)
@needs_builder
def test_the_runner_s_image_has_the_agent_and_the_toolchains(builder, runner):
    where = "import claude_agent_sdk, pathlib; print(pathlib.Path(claude_agent_sdk.__file__).parent / '_bundled' / 'claude')"
    agent = builder.run(runner, "python", "-c", where).stdout.strip()
    assert "Claude Code" in builder.run(runner, agent, "--version").stdout
    for program in ("git", "bwrap", "node", "npm", "npx", "corepack", "python3", "rg", "jq", "make"):
        done = builder.run(runner, program, "--version")
        assert done.returncode == 0, (program, done.stderr)
        at = builder.run(runner, "sh", "-c", f"command -v {program}").stdout.strip()
        assert at.startswith(("/usr/", "/opt/pullwright/")), at


@pytest.mark.full
@pytest.mark.timeout(1500)
@needs_builder
def test_a_job_without_a_run_says_what_is_missing(builder, runner):
    done = builder.run(runner, "python", "-m", "runner.job")
    assert done.returncode == 1
    assert "RUN_ID not set" in done.stderr
