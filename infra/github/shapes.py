"""The answers of GitHub's REST API, as far as they are used, and how they become our own types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from infra.core.clock import Instant
from infra.core.forge import AccessToken, Installation, PullRequest

Aware = Annotated[datetime, Meta(tz=True)]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all shapes: unknown keys are skipped, because GitHub adds some without notice."""


class AccountShape(Shape, frozen=True, kw_only=True):
    """``login`` is empty for an enterprise, which owns no repositories."""

    id: int
    login: str = ""


class AppShape(Shape, frozen=True, kw_only=True):
    slug: str


class InstallationShape(Shape, frozen=True, kw_only=True):
    id: int
    account: AccountShape
    permissions: dict[str, str]
    suspended_at: Aware | None = None

    def value(self) -> Installation:
        return Installation(
            id=self.id,
            account=self.account.login,
            suspended=self.suspended_at is not None,
            permissions=self.permissions,
        )


class NamedRepository(Shape, frozen=True, kw_only=True):
    id: int
    full_name: str


class TokenShape(Shape, frozen=True, kw_only=True):
    token: Annotated[str, Meta(pattern=r"\A[!-~]+\Z")]
    expires_at: Aware
    repositories: tuple[NamedRepository, ...] = ()

    def value(self) -> AccessToken:
        return AccessToken(value=self.token, expires_at=instant(self.expires_at))


class RepositoryShape(Shape, frozen=True, kw_only=True):
    default_branch: str
    private: bool
    html_url: str
    archived: bool = False


class PermissionShape(Shape, frozen=True, kw_only=True):
    """``permission`` knows admin, write, read and none; ``role_name`` also maintain, triage and an organization's own."""

    permission: str
    role_name: str = ""


class BranchShape(Shape, frozen=True, kw_only=True):
    """``repo`` None: the fork that it was on is gone."""

    ref: str
    sha: str
    repo: NamedRepository | None


class PullShape(Shape, frozen=True, kw_only=True):
    """A pull request, whole or from a list (which has ``merged_at`` but no ``merged``)."""

    number: int
    html_url: str
    state: str
    title: str
    head: BranchShape
    base: BranchShape
    body: str | None = None
    draft: bool | None = None
    merged_at: Aware | None = None

    def value(self) -> PullRequest:
        return PullRequest(
            number=self.number,
            url=self.html_url,
            state=self.state,
            merged=self.merged_at is not None,
            head_branch=self.head.ref,
            head_sha=self.head.sha,
            base_branch=self.base.ref,
            title=self.title,
            body=self.body or "",
            from_fork=self.from_fork,
            draft=bool(self.draft),
        )

    @property
    def from_fork(self) -> bool:
        return self.head.repo is None or self.base.repo is None or self.head.repo.id != self.base.repo.id


class CommitShape(Shape, frozen=True, kw_only=True):
    sha: str


def instant(moment: datetime) -> Instant:
    return Instant(int(moment.timestamp() * 1000))
