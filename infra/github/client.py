"""GitHub behind the ports of ``infra/core/forge.py``: the App (``GitHubForge``) and one repository (``GitHubRepository``)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Self, TypeVar

import httpx

from infra.core.clock import Clock
from infra.core.errors import Forbidden, Invalid, NotFound, PullwrightError, Unavailable
from infra.core.forge import (
    CONTROL_EXTRAS,
    CONTROL_PERMISSIONS,
    AccessToken,
    Account,
    BotIdentity,
    Installation,
    NewPullRequest,
    PullRequest,
    RepositoryFacts,
)
from infra.core.repository import Repository
from infra.github import calls, files
from infra.github.app_auth import AppCredentials, app_jwt
from infra.github.conversing import Conversing
from infra.github.git_data import GitData
from infra.github.hook import GitHubHook
from infra.github.pace import Pace
from infra.github.protocol import Call
from infra.github.reading import Reading
from infra.github.tokens import CachedToken, TokenSource
from infra.github.transport import ATTEMPTS, TIMEOUT, Transport

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_KEPT_TOKENS = 512
_KEPT_PACES = 1024
_ANYTHING: Mapping[str, str] = {"metadata": "read"}
_INSTALL = "Open the GitHub App's page, choose Install, and give it this repository."


class GitHubRepository(Conversing, GitData, Reading):
    """One repository through one token (``RepositoryForge``)."""

    @classmethod
    def connect(
        cls,
        *,
        api_url: str,
        git_url: str,
        repository: Repository,
        token_source: TokenSource,
        http: httpx.AsyncClient | None = None,
    ) -> Self:
        """For a program that holds a token but not the App's key. Close it with ``close()``."""
        transport = Transport(api_url=api_url, http=http or http_client(tls=api_url.startswith("https:")))
        return cls(
            transport=transport,
            git_url=git_url,
            repository=repository,
            token_source=token_source,
            pace=transport.pace(),
        )

    async def facts(self) -> RepositoryFacts:
        return await self._send(calls.facts(self._repository, self._git_url))

    async def resolve(self, ref: str) -> str:
        return await self._send(calls.resolve(self._repository, ref))

    async def permission(self, login: str) -> str:
        try:
            return await self._send(calls.permission(self._repository, login))
        except (Invalid, NotFound) as error:
            if error.code == "github_moved":
                raise
            return "none"

    async def file(self, path: str, ref: str) -> bytes | None:
        try:
            return await self._send(files.file(self._repository, path, ref))
        except NotFound as error:
            if error.code == "github_moved":
                raise
            return None

    async def pull(self, number: int) -> PullRequest:
        return await self._send(calls.pull(self._repository, number))

    async def pulls_from(self, branch: str) -> tuple[PullRequest, ...]:
        return await self._collect(calls.pulls_from(self._repository, branch))

    async def open_pull(self, new: NewPullRequest) -> PullRequest:
        """Raises ``Invalid`` with GitHub's reason, for instance when there are no commits between head and base.

        Not repeated blindly: after an error or a lost answer it first looks whether the pull request is there.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._send(calls.open_pull(self._repository, new))
            except (Invalid, Unavailable) as error:
                if existing := await self._open_pull_like(new):
                    return existing
                if isinstance(error, Invalid) or attempt == ATTEMPTS:
                    raise
                await self._transport.pause(attempt)
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """For what ``connect`` made: closes the connections."""
        await self._transport.close()

    async def _open_pull_like(self, new: NewPullRequest) -> PullRequest | None:
        pulls = await self.pulls_from(new.head_branch)
        return next((pull for pull in pulls if pull.state == "open" and pull.base_branch == new.base_branch), None)


class GitHubForge:
    """What the App can do (``Forge``). All its repositories share one transport, and one pace per installation."""

    def __init__(self, *, transport: Transport, git_url: str, credentials: AppCredentials, clock: Clock) -> None:
        self._transport = transport
        self._git_url = git_url
        self._credentials = credentials
        self._clock = clock
        self._app_pace = transport.pace()
        self._paces: OrderedDict[int, Pace] = OrderedDict()
        self._tokens: OrderedDict[tuple[int, Repository], CachedToken] = OrderedDict()
        self._identity: BotIdentity | None = None

    @classmethod
    def connect(
        cls,
        *,
        api_url: str,
        git_url: str,
        credentials: AppCredentials,
        clock: Clock,
        http: httpx.AsyncClient | None = None,
    ) -> Self:
        """``clock``: the wall clock, for the App's JWT and the tokens' expiry. Contacts nothing yet."""
        transport = Transport(api_url=api_url, http=http or http_client(tls=api_url.startswith("https:")))
        return cls(transport=transport, git_url=git_url, credentials=credentials, clock=clock)

    async def installation(self, repository: Repository) -> Installation:
        try:
            return await self._as_app(calls.installation(repository))
        except NotFound as error:
            raise _not_installed(repository, error) from error

    async def access_token(
        self, installation_id: int, repository: Repository, permissions: Mapping[str, str]
    ) -> AccessToken:
        try:
            return await self._as_app(calls.access_token(installation_id, repository, permissions))
        except NotFound as error:
            raise _not_installed(repository, error) from error
        except Invalid as error:
            # one status for two refusals; GitHub's sentence about the repository is the only difference
            if "repositor" in error.message.removeprefix(f"GitHub refused a token for {repository}").lower():
                raise _not_installed(repository, error) from error
            raise _not_granted(permissions, error) from error

    def on(self, installation_id: int, repository: Repository) -> GitHubRepository:
        cached = self._cached_token(installation_id, repository)
        return GitHubRepository(
            transport=self._transport,
            git_url=self._git_url,
            repository=repository,
            token_source=cached,
            pace=self._pace(installation_id),
            forget=cached.forget,
        )

    def hook(self) -> GitHubHook:
        return GitHubHook(
            transport=self._transport, token=lambda: app_jwt(self._credentials, self._clock()), pace=self._app_pace
        )

    async def bot_identity(self) -> BotIdentity:
        """Asked once. A user's profile cannot be read with the App's own JWT, so some installation's token is borrowed.
        Raises ``NotFound`` (``app_not_installed``) when the App is installed nowhere.
        """
        if self._identity is None:
            app = await self._as_app(calls.app())
            name = f"{app.slug}[bot]"
            installed = next((one for one in await self._as_app(calls.installations()) if not one.suspended), None)
            if installed is None:
                raise NotFound("The GitHub App is installed nowhere.", code="app_not_installed", hint=_INSTALL)
            bot = await self.account(installed.id, name)
            self._identity = BotIdentity(name=name, email=bot.email)
        return self._identity

    async def account(self, installation_id: int, login: str) -> Account:
        token = await self._as_app(calls.access_token(installation_id, None, _ANYTHING))
        user = await self._transport.send(calls.user(login), token.value, self._pace(installation_id))
        return Account(login=user.login, email=f"{user.id}+{user.login}@users.noreply.github.com")

    async def close(self) -> None:
        await self._transport.close()

    async def _as_app(self, call: Call[T]) -> T:
        return await self._transport.send(call, app_jwt(self._credentials, self._clock()), self._app_pace)

    def _cached_token(self, installation_id: int, repository: Repository) -> CachedToken:
        mint = partial(self._control_token, installation_id, repository)
        return _kept(self._tokens, (installation_id, repository), lambda: CachedToken(mint, self._clock), _KEPT_TOKENS)

    async def _control_token(self, installation_id: int, repository: Repository) -> AccessToken:
        """GitHub refuses the whole token for one permission that is not granted, so the extras are asked for first."""
        wanted = {**CONTROL_PERMISSIONS, **CONTROL_EXTRAS}
        try:
            return await self.access_token(installation_id, repository, wanted)
        except Forbidden:
            return await self.access_token(installation_id, repository, CONTROL_PERMISSIONS)

    def _pace(self, installation_id: int) -> Pace:
        return _kept(self._paces, installation_id, self._transport.pace, _KEPT_PACES)


def http_client(*, tls: bool = True) -> httpx.AsyncClient:
    """Connections for one program, with explicit limits. A proxy from the environment is used, but not to this machine.

    ``tls``: the address begins with ``https:``; without, the list of certificates, which takes 30 ms to load, is not needed.
    """
    return httpx.AsyncClient(
        verify=tls,
        timeout=TIMEOUT,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=50),
        mounts={"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None},
    )


def _kept(memory: OrderedDict[K, V], key: K, make: Callable[[], V], capacity: int) -> V:
    """The value for ``key``, made at first use; the longest unused ones go."""
    if key not in memory:
        memory[key] = make()
    memory.move_to_end(key)
    while len(memory) > capacity:
        memory.popitem(last=False)
    return memory[key]


def _not_installed(repository: Repository, cause: PullwrightError) -> NotFound:
    return NotFound(
        f"The GitHub App is not installed on {repository}, or the repository does not exist. {cause.message}",
        code="app_not_installed",
        hint=cause.hint or _INSTALL,
    )


def _not_granted(permissions: Mapping[str, str], cause: Invalid) -> Forbidden:
    wanted = ", ".join(f"{name}: {level}" for name, level in sorted(permissions.items()))
    return Forbidden(
        f"The installation does not grant what a token was asked for ({wanted}). {cause.message}",
        code="missing_permission",
        hint="Grant these permissions in the GitHub App's settings, then accept the change in the installation's settings.",
    )
