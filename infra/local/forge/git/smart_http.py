"""Clone, fetch and push over HTTP: who may, and then the real ``git http-backend``.

https://git-scm.com/docs/http-protocol · the refusals follow what github.com answers to git
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from infra.local.forge import access, push, repository
from infra.local.forge.git.cgi import Receive, Scope, Send, bridge
from infra.local.forge.identity import Identity, identify
from infra.local.forge.problem import Refusal
from infra.local.forge.repository import Repository

if TYPE_CHECKING:
    from infra.local.forge.world import World

_PATH = re.compile(r"/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)")
_SERVICES = ("git-upload-pack", "git-receive-pack")
_TIMEOUT = 900.0
_MAX_AT_ONCE = 32


def is_git(path: str) -> bool:
    return _PATH.fullmatch(path) is not None


class SmartHttp:
    """An ASGI application for the three paths of the smart protocol."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        match = _PATH.fullmatch(scope["path"])
        assert match is not None
        owner, name, rest = match.groups()
        service = rest if rest in _SERVICES else scope["query_string"].decode("latin-1").removeprefix("service=")
        try:
            identity = identify(self._world, headers.get("authorization", ""))
            repo = self._permitted(identity, repository.find(self._world, owner, name), service)
        except Refusal as refusal:
            await _refuse(send, refusal)
            return
        visit = _Visit(repo=repo, identity=identity, rest=rest)
        scope["forge.actor"] = visit.login
        async with self._slots:
            await self._serve(visit, self._environment(visit, scope, headers), receive, send)

    def _permitted(self, identity: Identity, repo: Repository | None, service: str) -> Repository:
        """The repository, if this identity may use ``service`` on it; raises ``Refusal`` otherwise."""
        hidden = repo is None or not access.sees(self._world, identity, repo)
        if identity.anonymous and (hidden or service == "git-receive-pack"):
            raise Refusal(401, "Authentication required.")
        if hidden or repo is None:
            raise Refusal(404, "Repository not found.")
        if service not in _SERVICES:
            raise Refusal(403, "Please upgrade your git client: only the smart protocol is served.")
        need = access.writing("contents") if service == "git-receive-pack" else access.reading("contents")
        try:
            access.demand(self._world, identity, repo, need)
        except Refusal as refusal:
            if refusal.status == 403 and not repo.archived:
                login = identity.account.login if identity.account else "you"
                raise Refusal(403, f"Permission to {repo.full_name}.git denied to {login}.") from None
            raise
        return repo

    def _environment(self, visit: _Visit, scope: Scope, headers: dict[str, str]) -> dict[str, str]:
        repo, token = visit.repo, visit.identity.token
        workflows = not visit.identity.is_installation or (token is not None and token.grants("workflows", "write"))
        meaning = {
            "GIT_PROJECT_ROOT": str(self._world.git_root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{self._world.directory(repo.id).name}/{visit.rest}",
            "REQUEST_METHOD": scope["method"],
            "QUERY_STRING": scope["query_string"].decode("latin-1"),
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": headers.get("content-length", ""),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
            "REMOTE_USER": visit.login,
            "REMOTE_ADDR": (scope.get("client") or ("",))[0],
            "FORGE_PROTECTED": f"refs/heads/{repo.default_branch}" if repo.protected else "",
            "FORGE_WORKFLOWS": "write" if workflows else "",
        }
        return {name: value for name, value in meaning.items() if value}

    async def _serve(self, visit: _Visit, environment: dict[str, str], receive: Receive, send: Send) -> None:
        world = self._world
        with tempfile.NamedTemporaryFile(prefix="push-", dir=world.scratch) as updates:
            aftermath = _Once(lambda: self._aftermath(visit, updates))
            environment["FORGE_UPDATES"] = updates.name
            process = await world.git.start(world.git_root, "http-backend", environment=environment)
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await bridge(process, receive, send, aftermath)
            finally:
                await world.git.end(process)
                await aftermath()

    async def _aftermath(self, visit: _Visit, updates: IO[bytes]) -> None:
        if visit.rest == "git-receive-pack" and visit.identity.account is not None:
            await push.received(self._world, visit.repo, visit.identity.account, updates.read().decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """A permitted request. ``rest``: the part of the path after the repository."""

    repo: Repository
    identity: Identity
    rest: str

    @property
    def login(self) -> str:
        return self.identity.account.login if self.identity.account else ""


class _Once:
    """Runs its work once, to the end, whoever asks and whoever is cancelled meanwhile."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        await asyncio.shield(self._task)


async def _refuse(send: Send, refusal: Refusal) -> None:
    """git shows the text of a refusal to the person as ``remote: …``."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-cache")]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="GitHub"'))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{refusal.message}\n".encode()})
