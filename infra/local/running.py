"""Where a running installation's forge is reached, for programs beside it: a file that is there as long as it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx


def note_forge(data: Path, url: str) -> None:
    (data / "forge-url").write_text(url)


def forget_forge(data: Path) -> None:
    (data / "forge-url").unlink(missing_ok=True)


async def running_forge(data: Path) -> str:
    """Its address; empty when none is running (a file may have been left behind by a crash)."""
    file = data / "forge-url"
    url = file.read_text() if file.exists() else ""
    if url:
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
                (await http.get(f"{url}/api/v3/rate_limit")).raise_for_status()
                return url
    return ""
