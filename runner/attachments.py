"""Pictures that people attached, laid out read-only in the agent's home, beside the clone and never in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from infra.core.artifacts import ATTACHMENTS
from infra.core.errors import PullwrightError
from runner.gateway import Gateway


async def lay_out(names: Sequence[str], home: Path, gateway: Gateway) -> tuple[str, ...]:
    """Fetches them; returns why those that could not be had are missing, a sentence each."""
    missing: list[str] = []
    for name in names:
        try:
            content = await gateway.artifact(f"{ATTACHMENTS}{name}")
        except PullwrightError as error:
            missing.append(f"The picture {name} could not be fetched: {error.message}")
            continue
        await asyncio.to_thread(_write, home / ATTACHMENTS.rstrip("/") / name, content)
    return tuple(missing)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(mode=0o755, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o444)
