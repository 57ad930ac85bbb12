"""What a runner sends while it works: events for the timeline, and artifacts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from dispatcher.call import MIB, Call, reply, whole_number
from dispatcher.engine.nudge import nudge_soon
from dispatcher.gateway.auth import MAX_BODY
from dispatcher.gateway.lease import run_of
from infra.core.checklist import newest_checklist
from infra.core.errors import Forbidden, Invalid, NotFound
from infra.core.ids import RunId
from infra.core.run import check_fence
from infra.core.timeline import Event
from infra.wire import EventBatch, Ingested, StoredArtifact

MAX_BATCH_BYTES = MIB
"""A batch becomes one stored chunk, so it must fit a document."""

_ARTIFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(log|txt|json|jsonl|jsonl\.gz|diff|patch|md|bundle)")
_CONTENT_TYPES = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "bundle": "application/octet-stream",
    "gz": "application/gzip",
}


async def ingest_events(call: Call) -> Response:
    """``POST /api/ingest/event``: a batch under the caller's lease; sent twice, stored once."""
    services, run_id = call.services, run_of(call)
    batch = await call.decode(EventBatch, MAX_BATCH_BYTES)
    if batch.run_id != run_id:
        raise Forbidden("The token belongs to another run.", code="foreign_run")
    run = await services.runs.get(run_id)
    check_fence(run, batch.fence)
    events = [Event(sequence=e.sequence, type=e.type, at=e.at, data=e.data) for e in batch.events]
    following = await services.timelines.append(run_id, events)
    services.bell.ring(run_id)
    if run.origin.issue and (checklist := newest_checklist(events)) is not None:
        await services.telling.checklists.put(run_id, checklist)
        await nudge_soon(run, services)
    return reply(Ingested(next_sequence=following))


async def ingest_artifact(call: Call) -> Response:
    """``POST /api/ingest/artifact?name=…&fence=…``: the body is the file. Stored whole or not at all."""
    services, run_id, query = call.services, run_of(call), call.request.query_params
    check_fence(await services.runs.get(run_id), whole_number(query.get("fence", ""), "fence", 1, 10**9))
    name = artifact_name(query.get("name", ""))
    content_type = _CONTENT_TYPES.get(name.rpartition(".")[2], "text/plain; charset=utf-8")
    body = await call.body(MAX_BODY)
    stored = await services.bucket.put(_key(run_id, name), _once(body), content_type=content_type, max_bytes=MAX_BODY)
    return reply(StoredArtifact(name=name, size=stored.size, sha256=stored.sha256))


async def list_artifacts(call: Call) -> Response:
    """``GET /api/runs/{id}/artifacts``."""
    run_id = call.path_run_id()
    await call.services.runs.get(run_id)
    objects = await call.services.bucket.list(_key(run_id, ""))
    return reply(
        {"artifacts": [StoredArtifact(name=o.key.rpartition("/")[2], size=o.size, sha256=o.sha256) for o in objects]}
    )


async def get_artifact(call: Call) -> Response:
    """``GET /api/runs/{id}/artifacts/{name}``: always as a download, never shown as a page of ours."""
    run_id, name = call.path_run_id(), artifact_name(call.request.path_params["name"])
    stored = await call.services.bucket.stat(_key(run_id, name))
    if stored is None:
        raise NotFound(f"Run {run_id} has no artifact {name}.", code="unknown_artifact")
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-length": str(stored.size),
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(call.services.bucket.open(stored.key), media_type=stored.content_type, headers=headers)


def artifact_name(text: str) -> str:
    """Raises ``Invalid`` unless it is a plain file name with a known ending."""
    if _ARTIFACT.fullmatch(text) is None or ".." in text:
        raise Invalid(
            "That is not an artifact name.",
            code="invalid_artifact_name",
            hint="A plain name ending in .log .txt .json .jsonl .jsonl.gz .diff .patch .md or .bundle.",
        )
    return text


def _key(run_id: RunId, name: str) -> str:
    return f"runs/{run_id}/{name}"


async def _once(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), MIB):
        yield body[start : start + MIB]
