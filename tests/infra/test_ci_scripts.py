"""The steps of a deployment, run for real against a docker and a gcloud that write down what they were told."""

import json
import os
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.docs import ROOT

DIGEST = "sha256:" + "ab" * 32
REPOSITORY = "europe-west4-docker.pkg.dev/my-project/pullwright"


class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("authorization", "")))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    server.asked, server.answer = [], (200, b'{"status":"ok","version":"1"}')
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def build(tmp_path):
    """A workspace as Cloud Build has it, with programs that note their arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".ci").mkdir()
    for script in (ROOT / ".ci").iterdir():
        shutil.copy(script, tmp_path / ".ci")
    for program in ("docker", "gcloud"):
        path = tmp_path / "bin" / program
        path.write_text(
            f'#!/usr/bin/env bash\necho "{program} $*" >> "{tmp_path}/calls"\ncat "{tmp_path}/$1-$2.says" 2>/dev/null || true\n'
        )
        path.chmod(0o755)

    def run(script, *argv, **substitutions):
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PROJECT_ID": "my-project",
            "_REGION": "europe-west4",
            "_TAG": "b1",
            "_STAGING": "",
            "_PERCENT": "100",
            **substitutions,
        }
        return subprocess.run(
            [str(tmp_path / ".ci" / script), *argv],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def calls():
        return (tmp_path / "calls").read_text().splitlines()

    run.folder, run.calls = tmp_path, calls
    return run


def says(build, command, text):
    (build.folder / f"{command}.says").write_text(text)


def test_an_image_is_built_pushed_and_known_by_its_digest(build):
    says(build, "image-inspect", f"elsewhere.example.org/dispatcher@{DIGEST}\n{REPOSITORY}/dispatcher@{DIGEST}\n")
    done = build("image", "dispatcher")
    assert done.returncode == 0, done.stderr
    assert (build.folder / "dispatcher.digest").read_text() == f"{REPOSITORY}/dispatcher@{DIGEST}\n"
    assert [call.split()[1] for call in build.calls()] == ["build", "push", "image"]
    assert build.calls()[0] == f"docker build --file dispatcher/Dockerfile --tag {REPOSITORY}/dispatcher:b1 ."


def test_production_takes_staging_s_image_and_builds_nothing(build):
    says(build, "image-inspect", f"{REPOSITORY}/runner@{DIGEST}\n")
    assert build("image", "runner", _STAGING="europe-west4-docker.pkg.dev/staging/pullwright").returncode == 0
    assert [call.split()[1] for call in build.calls()] == ["pull", "tag", "push", "image"]


def test_an_image_without_a_digest_stops_the_build(build):
    says(build, "image-inspect", f"elsewhere.example.org/runner@{DIGEST}\n")
    assert build("image", "runner").returncode != 0


def test_both_services_get_their_digest_without_traffic(build):
    for name in ("dispatcher", "runner"):
        (build.folder / f"{name}.digest").write_text(f"{REPOSITORY}/{name}@{DIGEST}\n")
    assert build("deploy").returncode == 0
    first, second = build.calls()
    assert f"--image {REPOSITORY}/dispatcher@{DIGEST}" in first
    assert f"--image {REPOSITORY}/runner@{DIGEST}" in second
    assert all("--no-traffic --tag candidate" in call for call in (first, second))


def test_an_unfinished_build_deploys_nothing(build):
    assert build("deploy").returncode != 0


@pytest.fixture
def candidates(build, service):
    url = f"http://127.0.0.1:{service.server_port}"
    status = {"url": f"{url}/service", "traffic": [{"percent": 100}, {"tag": "candidate", "url": url}]}
    says(build, "run-services", json.dumps({"status": status}))
    says(build, "auth-print-identity-token", "the-token\n")
    return build


def test_candidates_are_asked_for_their_health(candidates, service):
    done = candidates("smoke")
    assert done.returncode == 0, done.stderr
    assert service.asked == [("/health", ""), ("/health", "Bearer the-token")]
    assert any(
        call.endswith(f"--audiences http://127.0.0.1:{service.server_port}/service") for call in candidates.calls()
    )
    assert "the-token" not in done.stdout + done.stderr


def test_a_candidate_that_is_not_well_stops_the_deployment(candidates, service):
    service.answer = (200, b'{"status":"starting"}')
    assert candidates("smoke").returncode != 0


def test_traffic_goes_to_the_candidates_and_jobs_follow(build):
    (build.folder / "runner.digest").write_text(f"{REPOSITORY}/runner@{DIGEST}\n")
    says(build, "run-jobs", "claude-code-runner-1x2\nclaude-code-runner-2x4\n")
    assert build("traffic").returncode == 0
    verbs = [" ".join(call.split()[1:5]) for call in build.calls()]
    assert verbs == [
        "run services update-traffic pullwright-dispatcher",
        "run services update-traffic claude-code-runner",
        "run jobs list --project",
        "run jobs update claude-code-runner-1x2",
        "run jobs update claude-code-runner-2x4",
    ]


def test_a_part_of_the_traffic_leaves_runners_as_they_are(build):
    assert build("traffic", _PERCENT="10").returncode == 0
    assert len(build.calls()) == 1
    assert "--to-tags candidate=10" in build.calls()[0]
