"""GitHub's published webhook examples: npm ``@octokit/webhooks-examples`` (MIT), fetched once, kept beside the state of
local mode and never committed. Where npm or the registry is missing, the tests that need them are skipped and say so.
https://github.com/octokit/webhooks
"""

import functools
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "7.6.1"
ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".data" / "dev" / f"webhooks-examples-{VERSION}.json"
_MEMBER = "package/api.github.com/index.json"


def published():
    """[(event name, body as a dict)] of api.github.com; skips the calling test where they cannot be had."""
    try:
        found = _read()
    except (OSError, subprocess.SubprocessError, KeyError, tarfile.TarError) as error:
        pytest.skip(f"@octokit/webhooks-examples {VERSION} cannot be fetched (npm pack): {error}")
    return [(entry["name"], example) for entry in found for example in entry["examples"]]


@functools.cache
def _read():
    if not KEPT.exists():
        _fetch()
    return json.loads(KEPT.read_text())


def _fetch():
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT.parent) as folder:
        subprocess.run(
            [npm, "pack", "--silent", f"@octokit/webhooks-examples@{VERSION}"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=60,
        )
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            content = archive.extractfile(archive.getmember(_MEMBER)).read()
        partial = Path(folder) / "index.json"
        partial.write_bytes(content)
        partial.replace(KEPT)
