"""A file on its way to the gateway in parts: bounded memory, and a broken connection costs one part."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from infra.core.errors import Conflict
from infra.wire import StoredArtifact
from runner.gateway import Gateway

PART_BYTES = 8 * 1024 * 1024
_RESTARTS = 3


async def upload(
    gateway: Gateway, path: Path, *, name: str, fence: int, part_bytes: int = PART_BYTES
) -> StoredArtifact:
    """Sends the file as it is now; goes on where an earlier try broke off. Raises what the gateway refuses it with."""
    total, sha256 = await asyncio.to_thread(_measure, path)
    if total == 0:
        return await gateway.send_artifact(name, fence, b"")
    query = f"name={name}&total={total}&sha256={sha256}"
    restarts = 0
    state = await gateway.upload_state(query)
    while state.stored is None:
        part = await asyncio.to_thread(_read, path, state.offset, min(part_bytes, total - state.offset))
        try:
            state = await gateway.send_part(f"{query}&fence={fence}&offset={state.offset}", part)
        except Conflict as error:
            if error.code != "offset_mismatch" or restarts == _RESTARTS:
                raise
            restarts += 1
            state = await gateway.upload_state(query)
    return state.stored


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
