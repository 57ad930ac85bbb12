"""Data that others publish on npm, for tests: fetched once with ``npm pack``, kept beside the state of local mode, never
committed. Where npm or the registry is missing, the tests that need it are skipped and say so."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(__file__).resolve().parents[2] / ".data" / "dev"


def npm_json(package: str, version: str, member: str, reduce: Callable[[Any], Any] = lambda data: data) -> Any:
    """The JSON file ``member`` of a package, as ``reduce`` leaves it; skips the calling test where it cannot be had."""
    kept = KEPT / f"{package.rpartition('/')[2]}-{version}.json"
    try:
        if not kept.exists():
            _fetch(package, version, member, kept, reduce)
    except (OSError, subprocess.SubprocessError, KeyError, StopIteration, tarfile.TarError) as error:
        pytest.skip(f"{package} {version} cannot be fetched (npm pack): {error}")
    return json.loads(kept.read_text("utf-8"))


def _fetch(package: str, version: str, member: str, kept: Path, reduce: Callable[[Any], Any]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH")
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        argv = [npm, "pack", "--silent", f"{package}@{version}"]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=120)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            file = archive.extractfile(f"package/{member}")
            assert file is not None
            content = reduce(json.load(file))
        partial = Path(folder) / "partial.json"
        partial.write_text(json.dumps(content), "utf-8")
        partial.replace(kept)
