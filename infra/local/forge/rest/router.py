"""Finds the route, asks who calls, checks the route's access rule, and turns answers and refusals into HTTP."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import Response

from infra.local.forge import access, repository
from infra.local.forge.access import Need
from infra.local.forge.git.cgi import Receive, Scope, Send
from infra.local.forge.git.processes import GitFailed
from infra.local.forge.identity import Identity, identify
from infra.local.forge.problem import Refusal, not_found
from infra.local.forge.rest.http import Call, Reply, found, parse_json
from infra.local.forge.rest.limits import RateLimits
from infra.local.forge.world import World

PREFIX = "/api/v3"
_MAX_BODY = 10 * 1024 * 1024
_PLACE = re.compile(r"\{(\w+)(?::(int|path))?\}")
_KINDS = {"": "[^/]+", "int": "[0-9]{1,15}", "path": ".+"}
_logger = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Reply]]


class Rule(Enum):
    """Access to routes that do not belong to one repository."""

    ANYONE = "anyone"
    APP = "an App's JWT"
    INSTALLATION = "an installation's token"
    PERSON = "a person's token"


@dataclass(frozen=True, slots=True)
class Route:
    """``path``: with ``{name}``, ``{name:int}``, ``{name:path}``. A ``Need`` as access: for the repository in the path."""

    method: str
    path: str
    handler: Handler
    access: Need | Rule


class Rest:
    """The ASGI application below ``/api/v3``."""

    def __init__(self, world: World, routes: Sequence[Route]) -> None:
        self.limits = RateLimits(world.now)
        self._world = world
        self._routes: dict[str, list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        self._routes.setdefault(route.method, []).append((_pattern(route.path), route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        common = {
            "x-github-request-id": _request_id(self._world.entropy(12)),
            "x-github-media-type": "github.v3; format=json",
            "x-github-api-version-selected": "2022-11-28",
        }
        try:
            identity = identify(self._world, headers.get("authorization", ""))
            scope["forge.actor"] = identity.account.login if identity.account else ""
            common |= self.limits.count(identity)
            reply = await self._serve(scope, receive, headers, identity)
        except Refusal as refusal:
            reply = Reply(status=refusal.status, data=refusal.shape(), headers=refusal.headers)
        except GitFailed:
            _logger.exception("git failed while serving %s %s", scope["method"], scope["path"])
            reply = Reply(status=500, data=Refusal(500, "The local forge could not run git; its log says why.").shape())
        response = self._response(reply, common, scope["method"], headers.get("if-none-match", ""))
        if response.status_code == 304:
            self.limits.give_back(identity)
            response.headers.update(self.limits.headers(identity))
        await response(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, headers: Mapping[str, str], identity: Identity) -> Reply:
        path = scope["path"].removeprefix(PREFIX) or "/"
        route, parameters = self._find(scope["method"], path)
        json = parse_json(await _read(receive))
        scope["forge.body"] = json or None
        repo = self._permitted(route, identity, parameters)
        call = Call(
            world=self._world,
            identity=identity,
            path=path,
            parameters=parameters,
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            accept=headers.get("accept", ""),
            json=json,
            found=repo,
        )
        return await route.handler(call)

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        for pattern, route in self._routes.get("GET" if method == "HEAD" else method, []):
            match = pattern.fullmatch(path)
            if match:
                return route, match.groupdict()
        raise not_found()

    def _permitted(
        self, route: Route, identity: Identity, parameters: Mapping[str, str]
    ) -> repository.Repository | None:
        if isinstance(route.access, Need):
            repo = found(repository.find(self._world, parameters["owner"], parameters["repo"]))
            access.demand(self._world, identity, repo, route.access)
            return repo
        if route.access is Rule.APP and not identity.is_app:
            raise Refusal(401, "A JSON web token could not be decoded")
        if route.access is Rule.INSTALLATION and not identity.is_installation:
            raise Refusal(403, "You must authenticate with an installation access token.")
        if route.access is Rule.PERSON and (identity.anonymous or identity.app is not None):
            status = 401 if identity.anonymous else 403
            raise Refusal(
                status, "Requires authentication" if status == 401 else "Resource not accessible by integration"
            )
        return None

    def _response(self, reply: Reply, common: Mapping[str, str], method: str, known_tag: str) -> Response:
        content = reply.content
        if content is None:
            content = b"" if reply.status == 204 else msgspec.json.encode(reply.data)
        headers = {**common, **reply.headers}
        if reply.status != 204:
            headers["content-type"] = reply.media_type
        if method in {"GET", "HEAD"} and reply.status == 200:
            tag = f'W/"{hashlib.sha256(content).hexdigest()}"'
            headers |= {"etag": tag, "cache-control": "private, max-age=60, s-maxage=60"}
            if tag in known_tag or (known_tag and known_tag == tag.removeprefix("W/")):
                return Response(status_code=304, headers=headers)
        return Response(b"" if method == "HEAD" else content, status_code=reply.status, headers=headers)


def _pattern(path: str) -> re.Pattern[str]:
    parts, position = [], 0
    for place in _PLACE.finditer(path):
        parts += [re.escape(path[position : place.start()]), f"(?P<{place[1]}>{_KINDS[place[2] or '']})"]
        position = place.end()
    return re.compile("".join(parts) + re.escape(path[position:]))


async def _read(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The request ended early.")
        size += len(message.get("body", b""))
        if size > _MAX_BODY:
            raise Refusal(413, "Payload too large")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _request_id(raw: bytes) -> str:
    text = raw.hex().upper()
    return ":".join((text[:4], text[4:10], text[10:16], text[16:20], text[20:]))
