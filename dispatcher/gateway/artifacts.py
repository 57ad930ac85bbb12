"""Artifacts on their way in and out: streamed to the bucket, never whole in memory, whole or not at all."""

from __future__ import annotations

from starlette.responses import Response, StreamingResponse

from dispatcher.call import Call, reply, whole_number
from dispatcher.gateway.lease import run_of
from dispatcher.gateway.uploads import Uploads
from infra.core.artifacts import (
    CHECKPOINTS,
    MAX_ARTIFACT_BYTES,
    Upload,
    artifact_key,
    artifact_name,
    check_sha256,
    check_size,
    content_type,
)
from infra.core.bucket import StoredObject
from infra.core.errors import NotFound
from infra.core.ids import RunId
from infra.core.run import check_fence
from infra.wire import ArtifactPart, StoredArtifact


async def ingest_artifact(call: Call) -> Response:
    """``POST /api/ingest/artifact?name=…&fence=…``: the body is the file, or with ``offset``, ``total`` and ``sha256`` a part of it."""
    services, run_id, query = call.services, run_of(call), call.request.query_params
    name = artifact_name(query.get("name", ""))
    check_fence(await services.runs.get(run_id), whole_number(query.get("fence", ""), "fence", 1, 10**9))
    if "offset" in query:
        return await _part(call, _upload(call, name))
    stored = await services.bucket.put(
        artifact_key(run_id, name),
        call.stream(MAX_ARTIFACT_BYTES),
        content_type=content_type(name),
        max_bytes=MAX_ARTIFACT_BYTES,
    )
    return reply(_described(run_id, stored))


async def _part(call: Call, upload: Upload) -> Response:
    """202 with where the next part starts, 200 with the stored file after the last one."""
    uploads = Uploads(call.services.bucket)
    offset = call.number("offset", 0, 0, upload.total)
    stored = await uploads.stored(upload)  # there already when only the answer to the last part was lost
    if stored is None:
        reached = await uploads.add(upload, offset, call.stream(upload.total - offset))
        if reached < upload.total:
            return reply(ArtifactPart(name=upload.name, offset=reached, total=upload.total), 202)
        stored = await uploads.whole(upload)
    return reply(_finished(upload, stored))


async def upload_state(call: Call) -> Response:
    """``GET /api/ingest/artifact?name=…&total=…&sha256=…``: how much of a file that comes in parts is there."""
    upload = _upload(call, artifact_name(call.request.query_params.get("name", "")))
    uploads = Uploads(call.services.bucket)
    if stored := await uploads.stored(upload):
        return reply(_finished(upload, stored))
    reached = await uploads.reached(upload)
    return reply(ArtifactPart(name=upload.name, offset=reached, total=upload.total))


def _finished(upload: Upload, stored: StoredObject) -> ArtifactPart:
    described = _described(upload.run_id, stored)
    return ArtifactPart(name=upload.name, offset=upload.total, total=upload.total, stored=described)


def _upload(call: Call, name: str) -> Upload:
    query = call.request.query_params
    total = check_size(whole_number(query.get("total", ""), "total", 1, 10**15))
    return Upload(run_id=run_of(call), name=name, total=total, sha256=check_sha256(query.get("sha256", "")))


async def list_artifacts(call: Call) -> Response:
    """``GET /api/runs/{id}/artifacts``: what is kept with the run, by name."""
    run_id = call.path_run_id()
    await call.services.runs.get(run_id)
    found = [_described(run_id, stored) for stored in await call.services.bucket.list(artifact_key(run_id, ""))]
    return reply({"artifacts": [one for one in found if not one.name.startswith(CHECKPOINTS)]})


async def get_artifact(call: Call) -> Response:
    """``GET /api/runs/{id}/artifacts/{name}``: always as a download, never shown as a page of ours."""
    run_id, name = call.path_run_id(), artifact_name(call.request.path_params["name"])
    hidden = call.key is not None and name.startswith(CHECKPOINTS)  # they hold the agent's whole conversation
    stored = None if hidden else await call.services.bucket.stat(artifact_key(run_id, name))
    if stored is None:
        raise NotFound(f"Run {run_id} has no artifact {name}.", code="unknown_artifact")
    headers = {
        "content-disposition": f'attachment; filename="{name.rpartition("/")[2]}"',
        "content-length": str(stored.size),
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(call.services.bucket.open(stored.key), media_type=stored.content_type, headers=headers)


def _described(run_id: RunId, stored: StoredObject) -> StoredArtifact:
    name = stored.key.removeprefix(artifact_key(run_id, ""))
    return StoredArtifact(name=name, size=stored.size, sha256=stored.sha256)
