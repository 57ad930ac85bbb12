"""Artifacts: files kept with a run under plain names, of kinds that are safe to keep and to hand out as a download.

What people may see stands at the top (``claude.log``, ``latest.diff``, reports); what a later attempt or a run that goes on
from here needs stands below ``checkpoints/`` and is for runners only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.core.errors import Invalid, TooLarge
from infra.core.ids import RunId

MAX_ARTIFACT_BYTES = 256 * 1024 * 1024
MAX_PART_BYTES = 32 * 1024 * 1024
"""Cloud Run's limit for an HTTP/1 request. https://cloud.google.com/run/quotas"""

MAX_PARTS = 500
CHECKPOINTS = "checkpoints/"
SESSION_CHECKPOINT = f"{CHECKPOINTS}session.bundle"
WORK_CHECKPOINT = f"{CHECKPOINTS}work.bundle"
"""The agent's conversation and its files, as its runner last saved them (``runner/snapshot.py``)."""
ATTACHMENTS = "attachments/"
"""Pictures that people attached to what the run is about: put there by the control plane."""

_STEM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_NAME = re.compile(rf"{_STEM}\.(?:log|txt|json|jsonl|jsonl\.gz|diff|patch|md|bundle)")
_CHECKPOINT = re.compile(rf"{CHECKPOINTS}{_STEM}\.(?:bundle|json|jsonl|tar|gz)")
_ATTACHMENT = re.compile(rf"{ATTACHMENTS}picture-[1-9]\.(?:png|jpg|gif|webp)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = frozenset({"log", "txt", "diff", "patch", "md"})
_CONTENT_TYPES = {"json": "application/json", "jsonl": "application/jsonl", "gz": "application/gzip"}


def artifact_name(text: str) -> str:
    """Raises ``Invalid`` unless it is a plain file name, perhaps below ``checkpoints/``, with a known ending."""
    pattern = _NAME
    if text.startswith(CHECKPOINTS):
        pattern = _CHECKPOINT
    elif text.startswith(ATTACHMENTS):
        pattern = _ATTACHMENT
    if pattern.fullmatch(text) is None or ".." in text:
        raise Invalid(
            "That is not an artifact name.",
            code="invalid_artifact_name",
            hint="A plain name ending in .log .txt .json .jsonl .jsonl.gz .diff .patch .md or .bundle.",
        )
    return text


def content_type(name: str) -> str:
    """By the ending; nothing that a browser would run."""
    ending = name.rpartition(".")[2]
    if ending in _TEXTS:
        return "text/plain; charset=utf-8"
    return _CONTENT_TYPES.get(ending, "application/octet-stream")


def artifact_key(run_id: RunId, name: str) -> str:
    """Where the bucket has it; with an empty name the prefix of all."""
    return f"runs/{run_id}/{name}"


def check_sha256(text: str) -> str:
    """Raises ``Invalid`` unless it is SHA-256 in lower-case hexadecimal."""
    if _SHA256.fullmatch(text) is None:
        raise Invalid(
            "The checksum is not SHA-256 in hexadecimal.",
            code="invalid_checksum",
            hint="64 digits in lower case, over the bytes of the whole file.",
        )
    return text


def check_size(total: int) -> int:
    """Raises ``TooLarge``."""
    if total > MAX_ARTIFACT_BYTES:
        raise TooLarge(
            f"The artifact has {total:,} bytes; {MAX_ARTIFACT_BYTES:,} are allowed.",
            code="artifact_too_large",
            hint="Send less of it; what matters of a log is its end.",
        )
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that arrives in parts. Its checksum tells it from another file of the same name."""

    run_id: RunId
    name: str
    total: int
    sha256: str

    @property
    def prefix(self) -> str:
        return f"{uploads_prefix(self.run_id)}{self.name}/{self.sha256}/"

    def part_key(self, offset: int) -> str:
        return f"{self.prefix}{offset:015d}"


def uploads_prefix(run_id: RunId) -> str:
    """What has arrived of files that are not whole yet."""
    return f"uploads/{run_id}/"
