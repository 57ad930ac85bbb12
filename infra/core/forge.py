"""The forge port: the few things the product asks of GitHub, in its words, with our types.

``Forge`` is what a GitHub App can do (it holds the App's key, so only the control plane has one); ``RepositoryForge``
is one repository seen through one token, which is all a runner ever gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from infra.core.clock import Instant
from infra.core.conversing import Conversing
from infra.core.git_data import GitData
from infra.core.hook import Hook
from infra.core.reading import Reading
from infra.core.repository import Repository

CLONE_PERMISSIONS: Mapping[str, str] = {"contents": "read", "metadata": "read"}
PUBLISH_PERMISSIONS: Mapping[str, str] = {"contents": "write", "pull_requests": "write", "metadata": "read"}
CONTROL_PERMISSIONS: Mapping[str, str] = {
    "contents": "read",
    "issues": "write",
    "pull_requests": "write",
    "metadata": "read",
}
CONTROL_EXTRAS: Mapping[str, str] = {"checks": "write"}
"""Asked for beside ``CONTROL_PERMISSIONS``, and done without where an installation does not grant them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The App on one account. ``permissions`` as granted, e.g. ``{"contents": "write"}``."""

    id: int
    account: str
    suspended: bool
    permissions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An installation token for exactly one repository; at most one hour. The value never appears in ``repr``."""

    value: str
    expires_at: Instant

    def __repr__(self) -> str:
        return f"AccessToken(expires_at={self.expires_at})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BotIdentity:
    """Who commits: the App's bot user. The e-mail holds the bot's user id, not the App's, or GitHub shows no avatar.
    https://github.com/actions/create-github-app-token (README, "commit with git CLI")"""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person. ``email``: the forge's own address for commits, which tells nothing about the person."""

    login: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFacts:
    default_branch: str
    private: bool
    archived: bool
    html_url: str
    clone_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """``state``: open or closed. ``head_branch`` without the owner prefix. ``from_fork``: the head is in another repository."""

    number: int
    url: str
    state: str
    merged: bool
    head_branch: str
    head_sha: str
    base_branch: str
    title: str
    body: str
    from_fork: bool = False
    draft: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPullRequest:
    title: str
    body: str
    head_branch: str
    base_branch: str
    draft: bool = False


class RepositoryForge(Conversing, GitData, Reading, Protocol):
    """All calls raise ``NotFound``, ``Forbidden`` (missing permission, named), ``RateLimited`` or ``Upstream`` with GitHub's own words."""

    async def facts(self) -> RepositoryFacts: ...

    async def resolve(self, ref: str) -> str:
        """The commit SHA that a branch, tag or SHA names. Raises ``NotFound``."""
        ...

    async def permission(self, login: str) -> str:
        """admin, maintain, write, triage, read or none. Unknown people have none."""
        ...

    async def file(self, path: str, ref: str) -> bytes | None:
        """The content of a file at a branch, tag or SHA ("": the default branch); None when it is not there.

        Raises ``Invalid`` when it is no plain file, or one of more than a megabyte."""
        ...

    async def pull(self, number: int) -> PullRequest: ...

    async def pulls_from(self, branch: str) -> tuple[PullRequest, ...]:
        """Open and closed pull requests whose head is ``branch`` of this very repository, newest first."""
        ...

    async def open_pull(self, new: NewPullRequest) -> PullRequest:
        """Opens it – or returns the open one that already has this head, so that a lost answer can be repeated."""
        ...


class Forge(Protocol):
    async def installation(self, repository: Repository) -> Installation:
        """Raises ``NotFound`` (code ``app_not_installed``) when the App cannot see the repository."""
        ...

    async def access_token(
        self, installation_id: int, repository: Repository, permissions: Mapping[str, str]
    ) -> AccessToken:
        """A fresh token narrowed to one repository and these permissions. Never cached: callers revoke by forgetting."""
        ...

    def on(self, installation_id: int, repository: Repository) -> RepositoryForge:
        """The repository as the control plane sees it (short-lived tokens are managed inside)."""
        ...

    async def account(self, installation_id: int, login: str) -> Account:
        """Raises ``NotFound``."""
        ...

    def hook(self) -> Hook:
        """The App's webhook, as the forge remembers it."""
        ...

    async def bot_identity(self) -> BotIdentity:
        """Name and e-mail that make the forge show a commit as the App's."""
        ...

    async def close(self) -> None: ...
