"""Cloud Storage's JSON API, as much as objects need: whole and resumable uploads, media, metadata, lists."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any
from urllib.parse import unquote

import google_crc32c
from google.api_core import exceptions as google
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.world.google_identity import Identities, Roles

_generations = itertools.count(1_700_000_000_000_000)


@dataclass
class Stored:
    resource: dict[str, Any]
    data: bytes


@dataclass
class Upload:
    bucket: str
    resource: dict[str, Any]
    data: bytearray = field(default_factory=bytearray)


class Storage:
    """``fail(error, times)``: the next requests get this answer."""

    def __init__(self, identities: Identities, roles: Roles) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.faults: deque[google.GoogleAPICallError] = deque()
        self.requests = 0
        self.bucket_settings: dict[str, Any] = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
        self._uploads: dict[str, Upload] = {}
        self._identities = identities
        self._roles = roles

    def fail(self, error: google.GoogleAPICallError, times: int = 1) -> None:
        self.faults.extend([error] * times)

    async def handle(self, request: Request) -> Response:
        self.requests += 1
        try:
            if self.faults:
                raise self.faults.popleft()
            return await self._answer(request)
        except google.GoogleAPICallError as error:
            code = int(error.code or 500)
            body = {"error": {"code": code, "message": error.message, "errors": [{"message": error.message}]}}
            return JSONResponse(body, status_code=code)

    async def _answer(self, request: Request) -> Response:
        # the raw path: an object's name has its slashes escaped
        parts = request.scope["raw_path"].decode().split("?")[0].lstrip("/").split("/")
        if parts[0] == "upload":
            return await self._upload(request, unquote(parts[4]))
        media = parts[0] == "download" or request.query_params.get("alt") == "media"
        parts = parts[1:] if parts[0] == "download" else parts
        bucket = self._bucket(unquote(parts[3]))
        if len(parts) == 4:
            return JSONResponse({"name": parts[3], **self.bucket_settings})
        if len(parts) == 5:
            self._may(request, "storage.objects.list")
            return JSONResponse(_page(bucket, request))
        name = unquote("/".join(parts[5:]))
        action = "delete" if request.method == "DELETE" else "get"
        self._may(request, f"storage.objects.{action}")
        if name not in bucket:
            raise google.NotFound(f"No such object: {parts[3]}/{name}")
        if request.method == "DELETE":
            del bucket[name]
            return Response(status_code=204)
        stored = bucket[name]
        return _media(stored) if media else JSONResponse(stored.resource)

    async def _upload(self, request: Request, bucket: str) -> Response:
        self._may(request, "storage.objects.create")
        self._bucket(bucket)
        kind = request.query_params.get("uploadType")
        if kind == "multipart":
            resource, data = _related(request.headers["content-type"], await request.body())
            return JSONResponse(self._keep(bucket, resource, data))
        if request.method == "POST":
            upload_id = f"upload-{next(_generations)}"
            resource = json.loads(await request.body() or b"{}")
            resource.setdefault("name", request.query_params.get("name"))
            resource.setdefault("contentType", request.headers.get("x-upload-content-type"))
            self._uploads[upload_id] = Upload(bucket, resource)
            place = f"{request.url.scheme}://{request.url.netloc}{request.url.path}?uploadType=resumable&upload_id={upload_id}"
            return Response(headers={"location": place})
        upload = self._uploads[request.query_params["upload_id"]]
        upload.data.extend(await request.body())
        total = request.headers["content-range"].rpartition("/")[2]
        if total == "*" or len(upload.data) < int(total):
            return Response(status_code=308, headers={"range": f"bytes=0-{len(upload.data) - 1}"})
        return JSONResponse(self._keep(bucket, upload.resource, bytes(upload.data)))

    def _keep(self, bucket: str, resource: dict[str, Any], data: bytes) -> dict[str, Any]:
        generation = str(next(_generations))
        full = {
            "kind": "storage#object",
            "bucket": bucket,
            "contentType": "application/octet-stream",
            **resource,
            "generation": generation,
            "metageneration": "1",
            "size": str(len(data)),
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "crc32c": _crc32c(data),
        }
        self.buckets[bucket][full["name"]] = Stored(full, data)
        return full

    def _bucket(self, name: str) -> dict[str, Stored]:
        if name not in self.buckets:
            raise google.NotFound("The specified bucket does not exist.")
        return self.buckets[name]

    def _may(self, request: Request, permission: str) -> None:
        caller = self._identities.who(request.headers.get("authorization", ""))
        if not caller:
            raise google.Unauthorized("Invalid Credentials")
        if not self._roles.has(caller, permission):
            raise google.Forbidden(f"{caller} does not have {permission} access to the Google Cloud Storage object.")


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def _media(stored: Stored) -> Response:
    async def pieces() -> Any:
        for start in range(0, len(stored.data), 262_144):
            yield stored.data[start : start + 262_144]

    headers = {
        "content-length": str(len(stored.data)),
        "x-goog-hash": f"crc32c={stored.resource['crc32c']},md5={stored.resource['md5Hash']}",
        "x-goog-generation": stored.resource["generation"],
    }
    return StreamingResponse(pieces(), headers=headers, media_type=stored.resource["contentType"])


def _page(bucket: dict[str, Stored], request: Request) -> dict[str, Any]:
    prefix = request.query_params.get("prefix", "")
    after = request.query_params.get("pageToken", "")
    size = min(int(request.query_params.get("maxResults", 1000)), 1000)
    names = sorted(name for name in bucket if name.startswith(prefix) and name > after)
    page: dict[str, Any] = {"kind": "storage#objects", "items": [bucket[name].resource for name in names[:size]]}
    if len(names) > size:
        page["nextPageToken"] = names[size - 1]
    return page


def _related(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart/related body: the resource and the bytes."""
    parsed = message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n")
    boundary = b"--" + str(parsed.get_param("boundary")).encode()
    _, first, rest = body.split(boundary, 2)
    resource = json.loads(first.partition(b"\r\n\r\n")[2])
    media = rest[: rest.rindex(boundary)]
    head, _, data = media.partition(b"\r\n\r\n")
    kind = next(
        (line.split(b":", 1)[1].strip().decode() for line in head.splitlines() if b"content-type" in line.lower()), ""
    )
    resource.setdefault("contentType", kind)
    return resource, data.removesuffix(b"\r\n")
