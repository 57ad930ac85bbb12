"""functions-framework on a free port, with our function or an empty one; and what processes weigh."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from infra.local.processes import free_port
from tests.world.stack import program_environment

ROOT = Path(__file__).resolve().parents[2]
OURS = ("dispatch", ROOT / "dispatcher" / "main.py")
EMPTY = ("empty", Path(__file__).with_name("empty_function.py"))

READY_SECONDS = 30.0
_PAUSE_SECONDS = 0.002


class Function:
    """One functions-framework, started as the local stack starts it: one gunicorn worker."""

    def __init__(self, which, log, **settings):
        target, source = which
        self.port = free_port()
        self._log = log
        self.started = time.perf_counter()
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "functions_framework", "--target", target, "--source", str(source)),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                ],
                cwd=log.parent,
                env=program_environment(PORT=str(self.port), **settings),
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method, path, headers=None, body=None):
        """(status, body) of one request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def first_answer(self, method, path, headers=None, body=None):
        """Asks until there is an answer, as soon as something listens."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"functions-framework did not start:\n{self._log.read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(_PAUSE_SECONDS)
        return self.answer(method, path, headers, body)

    def stop(self):
        self.process.terminate()
        self.process.wait(15)


@contextmanager
def function(which, log, **settings):
    running = Function(which, log, **settings)
    try:
        yield running
    finally:
        running.stop()


def resident_mib(pid):
    """Resident memory of a process; 0 when it is gone. Pages that processes share count in each."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
