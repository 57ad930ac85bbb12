"""What a cold start of the function may load. Every module here is paid for by the first webhook after a pause."""

import subprocess
import sys

FORBIDDEN = (
    "claude_agent_sdk",
    "git",
    "google.cloud.firestore",
    "google.cloud.run_v2",
    "google.cloud.secretmanager",
    "google.cloud.storage",
    "google.cloud.tasks_v2",
    "grpc",
    "httpx",
    "infra.gcp",
    "infra.local",
    "opentelemetry",
    "pydantic",
    "rich",
    "runner",
    "sqlite3",
    "typer",
)


def test_loading_the_function_imports_no_client_no_agent_and_no_terminal():
    script = "import dispatcher.main, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    found = [name for name in loaded if any(name == bad or name.startswith(bad + ".") for bad in FORBIDDEN)]
    assert found == []
