"""What is asked of GitHub, one function each: checked names in, a ``Call`` out. https://docs.github.com/en/rest"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from infra.core.errors import Invalid
from infra.core.forge import AccessToken, Installation, NewPullRequest, PullRequest, RepositoryFacts
from infra.core.repository import Repository, is_sha, parse_ref
from infra.github.protocol import Call
from infra.github.shapes import (
    AccountShape,
    AppShape,
    CommitShape,
    InstallationShape,
    PermissionShape,
    PullShape,
    RepositoryShape,
    TokenShape,
)

T = TypeVar("T")

_SHA_ONLY = "application/vnd.github.sha"
_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9_])?(?:\[bot\])?")
_ROLES = frozenset({"admin", "maintain", "write", "triage", "read", "none"})
_NO_COMMIT = frozenset({404, 409, 410, 422, 451})
"""For an unknown ref GitHub says 422, for a repository without any commit 409."""


def app() -> Call[AppShape]:
    return Call(method="GET", path="/app", about="the GitHub App", read=reader(AppShape))


def installations() -> Call[tuple[Installation, ...]]:
    """The App's first hundred installations."""
    read = reader(tuple[InstallationShape, ...])
    return Call(
        method="GET",
        path="/app/installations",
        params={"per_page": "100"},
        about="the App's installations",
        read=lambda body: tuple(shape.value() for shape in read(body)),
    )


def user(login: str) -> Call[AccountShape]:
    return Call(method="GET", path=f"/users/{login_path(login)}", about=f"the user {login}", read=reader(AccountShape))


def installation(repository: Repository) -> Call[Installation]:
    read = reader(InstallationShape)
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/installation",
        about=f"the App's installation on {repository}",
        read=lambda body: read(body).value(),
    )


def access_token(
    installation_id: int, repository: Repository | None, permissions: Mapping[str, str]
) -> Call[AccessToken]:
    """``repository`` None: for what belongs to no repository, such as a user's public profile."""
    narrowed = {} if repository is None else {"repositories": [repository.name]}
    return Call(
        method="POST",
        path=f"/app/installations/{int(installation_id)}/access_tokens",
        json={**narrowed, "permissions": dict(permissions)},
        about=f"a token for {repository or 'the installation'}",
        read=lambda body: _narrowed(_token(body), repository),
        repeatable=True,
        quiet=True,
    )


def facts(repository: Repository, git_url: str) -> Call[RepositoryFacts]:
    """``git_url``: where the forge serves git, e.g. ``https://github.com``; an answer does not decide where we clone from."""
    read = reader(RepositoryShape)

    def value(body: bytes) -> RepositoryFacts:
        shape = read(body)
        return RepositoryFacts(
            default_branch=shape.default_branch,
            private=shape.private,
            archived=shape.archived,
            html_url=shape.html_url,
            clone_url=f"{git_url.rstrip('/')}/{repository}.git",
        )

    return Call(method="GET", path=repo_path(repository), about=f"the repository {repository}", read=value)


def resolve(repository: Repository, ref: str) -> Call[str]:
    """Asks for the bare SHA: the full commit would bring up to 300 files with it. Raises ``Invalid`` for a bad ref."""
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/commits/{quote(parse_ref(ref), safe='')}",
        accept=_SHA_ONLY,
        about=f"the ref {ref} of {repository}",
        read=_sha,
        absent=_NO_COMMIT,
    )


def permission(repository: Repository, login: str) -> Call[str]:
    """Raises ``Invalid`` when ``login`` cannot be anybody's."""
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/collaborators/{login_path(login)}/permission",
        about=f"the permission of {login} on {repository}",
        read=_permission,
    )


def pull(repository: Repository, number: int) -> Call[PullRequest]:
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/pulls/{int(number)}",
        about=f"pull request #{number} of {repository}",
        read=_pull,
    )


def pulls_from(repository: Repository, branch: str) -> Call[tuple[PullRequest, ...]]:
    """Filtered again here: GitHub ignores a ``head`` that it does not understand and then lists everything."""
    read, head = reader(tuple[PullShape, ...]), parse_ref(branch)
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/pulls",
        params={
            "head": f"{repository.owner}:{head}",
            "state": "all",
            "sort": "created",
            "direction": "desc",
            "per_page": "100",
        },
        about=f"the pull requests from {branch} of {repository}",
        read=lambda body: tuple(
            shape.value() for shape in read(body) if shape.head.ref == head and not shape.from_fork
        ),
    )


def open_pull(repository: Repository, new: NewPullRequest) -> Call[PullRequest]:
    return Call(
        method="POST",
        path=f"{repo_path(repository)}/pulls",
        json={
            "title": new.title,
            "body": new.body,
            "head": parse_ref(new.head_branch),
            "base": parse_ref(new.base_branch),
            "draft": new.draft,
        },
        about=f"a pull request from {new.head_branch} to {new.base_branch} of {repository}",
        read=_pull,
    )


def reader(shape: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(shape).decode


_token = reader(TokenShape)
_permissions = reader(PermissionShape)
_pulls = reader(PullShape)
_commit = reader(CommitShape)


def _pull(body: bytes) -> PullRequest:
    return _pulls(body).value()


def _permission(body: bytes) -> str:
    shape = _permissions(body)
    known = shape.role_name if shape.role_name in _ROLES else shape.permission
    return known if known in _ROLES else "none"


def _sha(body: bytes) -> str:
    """From the bare form, or from the whole commit where a forge knows no other."""
    text = _commit(body).sha if body.startswith(b"{") else body.decode().strip()
    if not is_sha(text):
        raise msgspec.ValidationError("it is not a commit SHA")
    return text


def _narrowed(shape: TokenShape, repository: Repository | None) -> AccessToken:
    """Refuses a token that opens another repository of the same name, as a mixed-up installation id would give."""
    for opened in shape.repositories if repository else ():
        if opened.full_name.lower() != str(repository).lower():
            raise msgspec.ValidationError("the token is for another repository than asked")
    return shape.value()


def repo_path(repository: Repository) -> str:
    return f"/repos/{quote(repository.owner, safe='')}/{quote(repository.name, safe='')}"


def login_path(login: str) -> str:
    if _LOGIN.fullmatch(login) is None:
        raise Invalid("That is not a GitHub login.", code="invalid_login")
    return quote(login, safe="")
