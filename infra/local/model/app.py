"""HTTP around the director: the part of the Messages API that Claude Code uses, as an ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from infra.core.errors import Invalid, PullwrightError, TooLarge, Unauthenticated
from infra.local.model import protocol, tokens
from infra.local.model.answer import Answer
from infra.local.model.conversation import parse_conversation
from infra.local.model.director import Performance, perform
from infra.local.model.library import Library
from infra.local.model.script import AnyFault, CutFault, ErrorEventFault, HangFault, HttpFault, SlowFault

_LARGEST = 32 * 1024 * 1024  # bytes; the API's own limit, https://docs.claude.com/en/api/errors
_SECRET_HEADERS = frozenset({"x-api-key", "authorization"})
_STATUS: dict[type[PullwrightError], int] = {Invalid: 400, Unauthenticated: 401, TooLarge: 413}
_MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-2")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request for a message, as the call log keeps it. ``headers`` are without credentials.

    ``script`` is empty and ``turn`` 0 when no script fitted; ``status`` is the HTTP status that was sent.
    """

    script: str
    turn: int
    status: int
    streamed: bool
    stopped: str
    session: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class ConnectionCut(Exception):
    """Raised inside a response to drop the connection, as the script wants it."""


class MessagesApi:
    """The handlers and their little state: a bounded call log, and how often each counted fault has happened.

    ``pace`` is the pause before each delta, in seconds. An empty ``key`` accepts every caller.
    """

    def __init__(self, library: Library, *, key: str = "", pace: float = 0.0, log_size: int = 500) -> None:
        self.calls: deque[Call] = deque(maxlen=log_size)
        self._library = library
        self._key = key.encode()
        self._pace = pace
        self._faults: Counter[tuple[str, str, int]] = Counter()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends all waiting; connections that a script holds open are dropped."""
        self._stopping.set()

    async def messages(self, request: Request) -> Response:
        raw, body = await self._read(request)
        conversation = parse_conversation(body, request.headers.items())
        performance = perform(self._library, conversation)
        fault = self._due(performance, request)
        status = fault.status if isinstance(fault, HttpFault) else 200
        self._record(request, body, performance, status)
        identity = protocol.message_id(raw)
        if isinstance(fault, HttpFault):
            content = protocol.error(status, fault.message, request_id=identity, error_type=fault.error_type)
            return _json(content, status, headers=fault.headers)
        if isinstance(fault, HangFault) and fault.after is None:
            await self._pause(fault.seconds)
        model = str(body["model"])
        usage = tokens.estimate(body, performance.answer)
        headers = {"request-id": _request_id(raw)}
        if body.get("stream") is True:
            frames = self._frames(performance.answer, fault, identity=identity, model=model, usage=usage)
            return StreamingResponse(frames, headers=headers, media_type="text/event-stream")
        if isinstance(fault, CutFault | ErrorEventFault):
            content = protocol.error(500, "scripted fault of a stream", request_id=identity)
            return _json(content, 500, headers=headers)
        whole = protocol.message(performance.answer, identity=identity, model=model, usage=usage)
        return _json(whole, headers=headers)

    async def count_tokens(self, request: Request) -> Response:
        _, body = await self._read(request)
        return _json({"input_tokens": tokens.count(body)})

    async def models(self, request: Request) -> Response:
        self._authenticate(request)
        items = [
            {"type": "model", "id": name, "display_name": f"{name} (scripted)", "created_at": "2026-01-01T00:00:00Z"}
            for name in _MODELS
        ]
        return _json({"data": items, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]})

    async def hello(self, _request: Request) -> Response:
        return _json({"message": "scripted rehearsal model"})

    async def _read(self, request: Request) -> tuple[bytes, dict[str, Any]]:
        self._authenticate(request)
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _LARGEST:
                raise TooLarge("Request exceeds the maximum size")
        return bytes(raw), _parse(bytes(raw))

    def _authenticate(self, request: Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key", "") or bearer
        if self._key and not hmac.compare_digest(given.encode(), self._key):
            raise Unauthenticated("invalid x-api-key" if given else "x-api-key header is required")

    def _due(self, performance: Performance, request: Request) -> AnyFault | None:
        fault = performance.fault
        if fault is None or not fault.times:
            return fault
        place = (_session(request), performance.script, performance.turn)
        self._faults[place] += 1
        return fault if self._faults[place] <= fault.times else None

    def _record(self, request: Request, body: dict[str, Any], performance: Performance, status: int) -> None:
        call = Call(
            script=performance.script,
            turn=performance.turn,
            status=status,
            streamed=body.get("stream") is True,
            stopped=performance.stopped,
            session=_session(request),
            headers={name: value for name, value in request.headers.items() if name not in _SECRET_HEADERS},
            body=body,
        )
        self.calls.append(call)
        log.info("script=%s turn=%d status=%d stopped=%s", call.script or "-", call.turn, status, bool(call.stopped))

    async def _frames(
        self, answer: Answer, fault: AnyFault | None, *, identity: str, model: str, usage: tokens.Usage
    ) -> AsyncIterator[bytes]:
        pace = fault.delay_ms / 1000 if isinstance(fault, SlowFault) else self._pace
        stream = protocol.events(answer, identity=identity, model=model, usage=usage)
        for at, event in enumerate(stream):
            match fault:
                case CutFault(after=after) if at >= after:
                    raise ConnectionCut
                case ErrorEventFault(after=after) if at >= after:
                    error_type, text = fault.error_type, fault.message
                    yield protocol.frame(protocol.error(529, text, request_id=identity, error_type=error_type))
                    return
                case HangFault(after=after) if at == after:
                    await self._pause(fault.seconds)
            if event["type"] == "content_block_delta" or isinstance(fault, SlowFault):
                await self._pause(pace)
            yield protocol.frame(event)

    async def _pause(self, seconds: float) -> None:
        if not seconds:
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise ConnectionCut


def create_app(api: MessagesApi) -> Starlette:
    routes = [
        Route("/v1/messages", api.messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", api.count_tokens, methods=["POST"]),
        Route("/v1/models", api.models, methods=["GET"]),
        Route("/api/hello", api.hello, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={PullwrightError: _refused, HTTPException: _not_here})


async def _refused(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return _json(protocol.error(status, str(error), request_id=_request_id(request.url.path.encode())), status)


async def _not_here(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = f"{request.method} {request.url.path}: not part of the scripted model"
    return _json(protocol.error(status, text, request_id=_request_id(text.encode())), status)


def _json(content: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """In ASCII: what people wrote may hold half of a surrogate pair, which UTF-8 cannot carry."""
    return Response(json.dumps(content), status, headers=headers, media_type="application/json")


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid("The request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise Invalid("The request body is not a JSON object")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Invalid("model: Field required")
    if not isinstance(body.get("messages"), list):
        raise Invalid("messages: Field required")
    return body


def _session(request: Request) -> str:
    return request.headers.get("x-claude-code-session-id", "")


def _request_id(text: bytes) -> str:
    return f"req_script_{hashlib.sha256(text).hexdigest()[:24]}"
