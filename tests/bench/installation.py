"""A whole installation that is up, and what a bench wants to know of it."""

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.world.stack import Up

REPOSITORY = "rehearsal/invoices"
TASK = "Instalments do not add up to the invoice total\n\n100.00 in three instalments gives three times 33.33."

_PROGRAMS = (
    ("dispatcher", r"functions_framework"),
    ("runner", r"-m runner\.service"),
    ("forge", r"-m infra\.local\.forge"),
    ("model", r"-m infra\.local\.model"),
    ("agent's CLI", r"^\S*/claude "),
    ("agent's sandbox", r"runner\.(box_start|keeper)|^\S*bwrap |/run/box/"),
)


@contextmanager
def installation():
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder, Up(folder) as up:
        yield up


def programs(up):
    """pid → what it is, of the installation's own programs; the tools that an agent starts are left out."""
    found = {up.process.pid: "supervisor"}
    dispatchers = []
    for pid, line in up.children().items():
        name = next((name for name, mark in _PROGRAMS if re.search(mark, line)), "")
        if name == "dispatcher":
            dispatchers.append(pid)
        elif name:
            found[pid] = name
    return found | dict(zip(sorted(dispatchers), ("dispatcher (gunicorn's master)", "dispatcher"), strict=False))


def model_address(up):
    """The scripted model's address and its key."""
    line = next(line for line in up.children().values() if "-m infra.local.model" in line)
    port = re.search(r"--port (\d+)", line)[1]
    return f"http://127.0.0.1:{port}", (up.data / "model-key").read_text("ascii")


def one_run(up):
    """Dispatches and waits for the end; returns the answer. A run that does not succeed is a ``RuntimeError``."""
    answer = up.dispatch(context=TASK)
    result = answer.json()
    if result.get("status") != "succeeded":
        raise RuntimeError(f"the run did not succeed: {answer.status_code} {answer.text[:1000]}")
    return result
