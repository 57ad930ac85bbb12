"""The whole product as a person starts it: ``pullwright up`` as a process, its addresses read from what it prints."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR")


def program_environment(**extra):
    """What a fresh shell has, and nothing of this test run's own settings."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | extra


class Up:
    """``with Up(folder) as up:`` – ``up.url``, ``up.key``, ``up.forge``, ``up.http`` (with the admin key)."""

    def __init__(self, folder, *, pace="0", **settings):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self._settings = {"REHEARSAL_PACE_MS": pace, **settings}
        self._log = self.folder / "up.log"

    def __enter__(self):
        with self._log.open("wb") as sink:
            self.process = subprocess.Popen(
                [BIN / "pullwright", "up", "--data", self.data, "--port", "0"],
                cwd=self.folder,
                env=program_environment(**self._settings),
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._wait_for("Ctrl-C stops everything")
        said = self.said()
        self.url = re.search(r"dispatcher\s+(http://\S+)", said)[1]
        forge = re.search(r"^forge\s+(http://\S+)", said, re.MULTILINE)
        self.forge = forge[1] if forge else ""  # somebody else's
        self.runner = re.search(r"^runner\s+(http://\S+)", said, re.MULTILINE)[1]
        found = re.search(r"pw_[0-9a-z]{12}_[0-9a-z]{32}", said)
        self.key = found[0] if found else ""
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=90, trust_env=False
        )
        return self

    def __exit__(self, *_):
        self.http.close()
        self.stop()

    def said(self):
        return self._log.read_text(errors="replace")

    def _wait_for(self, words, seconds=60):
        deadline = time.monotonic() + seconds
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said() + self.logs()
            time.sleep(0.02)

    def logs(self):
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in (self.data / "logs").glob("*")
        )

    def stop(self, number=signal.SIGTERM):
        """Ends it as Ctrl-C would; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def children(self):
        """pid → command line of everything that lives below the supervisor."""
        return self.below(self.process.pid)

    @staticmethod
    def below(pid):
        """pid → command line of every descendant of a process."""
        below, found = {pid}, {}
        processes = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    stat = (entry / "stat").read_text().rpartition(")")[2].split()
                    processes[int(entry.name)] = (
                        int(stat[1]),
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(),
                    )
                except OSError:
                    continue
        grown = True
        while grown:
            grown = False
            for child, (parent, line) in processes.items():
                if parent in below and child not in below:
                    below.add(child)
                    found[child] = line
                    grown = True
        return found

    def runner_pid(self):
        return next(pid for pid, line in self.children().items() if "-m runner.service" in line)

    def dispatch(
        self, repo="invoices", context="Instalments do not add up to the invoice total", prefer="wait=60", **body
    ):
        return self.http.post(
            "/api/workflows/dispatch",
            json={
                "owner": "rehearsal",
                "repo": repo,
                "workflowId": "claude.yml",
                "inputs": {"action_type": "create-pr", "context": context},
                **body,
            },
            headers={"prefer": prefer},
        )

    def run(self, run_id):
        return self.http.get(f"/api/runs/{run_id}").raise_for_status().json()

    def until(self, run_id, check, seconds=60):
        """Polls the run until ``check(run)`` holds."""
        deadline = time.monotonic() + seconds
        while not check(run := self.run(run_id)):
            assert time.monotonic() < deadline, f"{run}\n{self.logs()}"
            time.sleep(0.03)
        return run

    def ended(self, run_id, seconds=60):
        return self.until(run_id, lambda run: run["finished_at"], seconds)

    def on_forge(self, method, path, body=None):
        """A call of the forge's REST API as the person ``you``."""
        token = (self.data / "forge" / "person-token").read_text()
        request = urllib.request.Request(
            f"{self.forge}/api/v3{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def pulls(self, repo):
        return self.on_forge("GET", f"/repos/rehearsal/{repo}/pulls?state=all")
