"""The Messages API as Vertex AI has it: the model in the path, the version in the body. Pure.

The agent goes on speaking the plain API; its program needs no cloud credential and no switch.
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

VERSION = "vertex-2023-10-16"

_DATED = re.compile(r"-([0-9]{8})$")
_WINDOW = re.compile(r"\[1m\]$")


def vertex_path(path: str, *, project: str, region: str, model: str, streamed: bool) -> str:
    """Behind the base URL, which ends in ``/v1``. ``path``: that of the plain API."""
    publisher = f"/projects/{quote(project, safe='')}/locations/{quote(region, safe='')}/publishers/anthropic/models"
    if path.endswith("/count_tokens"):
        return f"{publisher}/count-tokens:rawPredict"
    return f"{publisher}/{quote(vertex_model(model), safe='@')}:{'streamRawPredict' if streamed else 'rawPredict'}"


def vertex_body(path: str, body: bytes) -> bytes:
    """A request of the plain API, rewritten. Only counting tokens names its model in the body."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    if path.endswith("/count_tokens"):
        model = msgspec.json.decode(fields["model"], type=str)
        fields["model"] = msgspec.Raw(msgspec.json.encode(vertex_model(model)))
    else:
        del fields["model"]
    fields["anthropic_version"] = msgspec.Raw(msgspec.json.encode(VERSION))
    return msgspec.json.encode(fields)


def vertex_model(name: str) -> str:
    """``claude-sonnet-4-5-20250929`` is called ``claude-sonnet-4-5@20250929`` there."""
    return _DATED.sub(r"@\1", _WINDOW.sub("", name))
