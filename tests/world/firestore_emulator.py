"""Google's Firestore emulator: the one at FIRESTORE_EMULATOR_HOST, or one of our own, started from the SDK's jar.

java is started directly: the gcloud wrapper reports home, takes a second longer, and leaves java behind when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_JAR = Path("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_START_SECONDS = 60.0


def missing() -> str:
    """What keeps the emulator from running here; empty when nothing does."""
    if os.environ.get("FIRESTORE_EMULATOR_HOST"):
        return ""
    if shutil.which("java") is None:
        return "NO FIRESTORE EMULATOR: java is not installed (or set FIRESTORE_EMULATOR_HOST); the cloud store stays untested"
    if _find_jar() is None:
        return (
            "NO FIRESTORE EMULATOR: install it with 'gcloud components install cloud-firestore-emulator' "
            "(or set FIRESTORE_EMULATOR_HOST); the cloud store stays untested"
        )
    return ""


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Its ``host:port`` while the block lasts."""
    given = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if given:
        yield given
        return
    jar = _find_jar()
    assert jar is not None
    port, websocket_port = _free_port(), _free_port()
    argv = ["java", "-Xmx512m", "-Duser.language=en", "-cp", str(jar), _MAIN]
    argv += ["--host=127.0.0.1", f"--port={port}", f"--websocket_port={websocket_port}"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _find_jar() -> Path | None:
    return next((root / _JAR for root in _sdk_roots() if (root / _JAR).is_file()), None)


def _sdk_roots() -> Iterator[Path]:
    if given := os.environ.get("CLOUDSDK_ROOT_DIR"):
        yield Path(given)
    if gcloud := shutil.which("gcloud"):
        yield Path(gcloud).resolve().parent.parent
    home = Path.home()
    yield home / "google-cloud-sdk"
    for place in (
        "/usr/lib",
        "/usr/share",
        "/usr/local",
        "/opt",
        "/opt/homebrew/share",
        "/snap/google-cloud-cli/current",
    ):
        yield Path(place) / "google-cloud-sdk"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The Firestore emulator ended with code {process.returncode} while starting.")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"The Firestore emulator did not listen within {_START_SECONDS:.0f} s.")
