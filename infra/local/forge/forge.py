"""The local forge as one object: start it, fill it, watch it, break it. Programs and tests use nothing else.

async with Forge(folder) as forge:
    forge.register_app(1, slug="pullwright", public_key=pem)
    await forge.create_repository("acme", "shop", {"README.md": "# Shop"})
    forge.install_app(1, "acme")
    forge.set_webhook("http://127.0.0.1:8080/webhook/github", secret)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.core.clock import HOUR, SECOND, Clock, Instant
from infra.core.ids import Entropy
from infra.core.repository import parse_repository
from infra.local.forge import access, account, integration, issue, label, repository, token, webhooks
from infra.local.forge.admin import Admin
from infra.local.forge.calls import Calls
from infra.local.forge.faults import Faults
from infra.local.forge.front import Front
from infra.local.forge.git import initial
from infra.local.forge.git.commits import Signature
from infra.local.forge.git.initial import File
from infra.local.forge.git.smart_http import SmartHttp
from infra.local.forge.integration import App, Installation
from infra.local.forge.issue import Issue
from infra.local.forge.manifest import Manifests
from infra.local.forge.pages.site import Site
from infra.local.forge.repository import Repository
from infra.local.forge.rest.limits import RateLimits
from infra.local.forge.rest.routes import rest
from infra.local.forge.server import Server
from infra.local.forge.world import World
from infra.system_clock import system_clock

Files = Mapping[str, bytes | str] | Path


class Forge:
    """``data``: where everything is kept; the same folder makes the same forge again.

    ``clock`` decides when tokens expire (``token_ttl`` in milliseconds) and which JWTs are in time. ``operator``: the person
    who sits at this machine.
    """

    def __init__(
        self,
        data: Path,
        *,
        clock: Clock = system_clock,
        entropy: Entropy = os.urandom,
        token_ttl: int = HOUR,
        operator: str = "you",
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.world = World(data, clock=clock, entropy=entropy, token_ttl=token_ttl, operator=operator)
        self.faults, self.calls = Faults(), Calls()
        self.admin_token_file = data / "admin-token"
        routes = rest(self.world)
        self.limits: RateLimits = routes.limits
        self.app = Front(
            git=SmartHttp(self.world),
            rest=routes,
            site=Site(self.world),
            manifests=Manifests(self.world),
            admin=Admin(self, _admin_token(self.admin_token_file, entropy)),
            faults=self.faults,
            calls=self.calls,
        )
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """For ``GITHUB_URL``; the API is at ``api_url``."""
        return self.world.url

    @property
    def api_url(self) -> str:
        return self.world.api("")

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1. Raises ``OSError`` when the port is taken."""
        await self.world.load()
        self._server = Server(self.app, port=port)
        self.world.url = self._server.url
        self.app.abort = self._server.abort
        await self._server.start()

    async def close(self) -> None:
        await self.world.git.close()  # first, so that no request waits for a clone or push that waits for its client
        if self._server is not None:
            await self._server.stop()
        await self.world.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def drain(self) -> None:
        """Returns when every webhook has been delivered (or has failed)."""
        await self.world.webhooks.drain()

    def repository(self, full_name: str) -> Repository | None:
        owner, _, name = full_name.partition("/")
        return repository.find(self.world, owner, name)

    async def create_repository(
        self,
        owner: str,
        name: str,
        files: Files | None = None,
        *,
        private: bool = True,
        protected: bool = False,
        default_branch: str = "main",
        description: str = "",
    ) -> Repository:
        """``files``: path → content, or a folder of files, a git repository or a bundle. None leaves it empty.

        Raises ``Invalid`` for names GitHub would not take and ``ValueError`` for one that is there already.
        """
        named = parse_repository(owner, name)
        if repository.find(self.world, owner, name):
            raise ValueError(f"{named} exists already.")
        holder = account.ensure(self.world, owner, "Organization")
        number, now = self.world.new_id(), self.world.now()
        branch = await self._fill(number, files, default_branch)
        row = self.world.repositories.put(
            Repository(
                id=number,
                owner=holder.id,
                owner_login=holder.login,
                name=name,
                private=private,
                protected=protected,
                default_branch=branch,
                description=description,
                roles={str(account.ensure(self.world, self.world.operator).id): "admin"},
                created_at=now,
                pushed_at=now,
            )
        )
        await self.world.refs.refresh(row.id)
        return row

    async def _fill(self, number: int, files: Files | None, branch: str) -> str:
        git, directory = self.world.git, self.world.directory(number)
        if isinstance(files, Path) and (files.is_file() or (files / ".git").exists() or (files / "HEAD").exists()):
            return await initial.copy(git, directory, files)
        await initial.create(git, directory, branch)
        content = initial.files_below(files) if isinstance(files, Path) else _as_files(files or {})
        if content:
            you = account.ensure(self.world, self.world.operator)
            await initial.commit_files(
                git,
                directory,
                branch,
                content,
                author=Signature(name=you.login, email=you.email, date=""),
                seconds=self.world.now() // SECOND,
                message="Initial commit",
            )
        return branch

    def register_app(
        self,
        app_id: int,
        *,
        slug: str,
        public_key: str,
        name: str = "",
        permissions: Mapping[str, str] = integration.EVERYTHING,
        events: Sequence[str] = integration.EVENTS,
    ) -> App:
        """Adds the App, or renews its public key (PEM), permissions and events."""
        return integration.register(
            self.world,
            app_id=app_id,
            slug=slug,
            name=name,
            public_key=public_key,
            permissions=permissions,
            events=events,
        )

    def install_app(
        self,
        app_id: int,
        owner: str,
        repositories: Sequence[Repository] | None = None,
        permissions: Mapping[str, str] | None = None,
    ) -> Installation:
        """On all of the owner's repositories, or on the given ones (added to those it has). Raises ``KeyError``."""
        return integration.install(self.world, self._app(app_id), owner, repositories, permissions)

    def set_webhook(self, url: str, secret: str, app_id: int | None = None) -> None:
        """Where the App's webhooks go from now on; without ``app_id`` every App's."""
        for app in self.world.apps if app_id is None else [self._app(app_id)]:
            webhooks.point(self.world, app, url=url, secret=secret)

    def ping(self, app_id: int) -> None:
        self.world.webhooks.ping(self._app(app_id))

    def person_token(self, login: str, expires_at: Instant | None = None) -> str:
        """A token that acts as this person, who is made if new."""
        return token.mint_person(self.world, account.ensure(self.world, login), expires_at)

    def set_permission(self, login: str, repo: Repository, role: str) -> Repository:
        """``role``: none, read, triage, write, maintain or admin."""
        if role not in access.ROLES:
            raise ValueError(f"{role!r} is no role; there are {', '.join(access.ROLES)}.")
        return repository.set_role(self.world, repo, account.ensure(self.world, login), role)

    def create_label(self, repo: Repository, name: str) -> None:
        label.ensure(self.world, repo, name)

    async def open_issue(
        self, repo: Repository, title: str, body: str = "", *, labels: Sequence[str] = (), author: str = ""
    ) -> Issue:
        person = account.ensure(self.world, author or self.world.operator)
        return await issue.open_issue(self.world, repo, person, title=title, body=body, labels=labels)

    def _app(self, app_id: int) -> App:
        app = self.world.apps.get(app_id)
        if app is None:
            raise KeyError(f"No App {app_id} is registered.")
        return app


def _as_files(files: Mapping[str, bytes | str]) -> dict[str, File]:
    return {path: File(content.encode() if isinstance(content, str) else content) for path, content in files.items()}


def _admin_token(file: Path, entropy: Entropy) -> str:
    """Made at the first start, readable only for this user."""
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(entropy(32).hex())
    return file.read_text().strip()
