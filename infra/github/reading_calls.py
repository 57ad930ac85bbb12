"""What is read, one function each. https://docs.github.com/en/rest"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from infra.core.errors import Invalid
from infra.core.repository import Repository
from infra.github.protocol import Call
from infra.github.shapes import Shape

_SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9_])?")
_BOT = "[bot]"


class ChangedFileShape(Shape, frozen=True, kw_only=True):
    filename: str
    previous_filename: str = ""


class MembershipShape(Shape, frozen=True, kw_only=True):
    """``state``: active, or pending until the person has accepted."""

    state: str


class AppIdShape(Shape, frozen=True, kw_only=True):
    id: int
    slug: str


_files = msgspec.json.Decoder(tuple[ChangedFileShape, ...]).decode
_membership = msgspec.json.Decoder(MembershipShape).decode
_app = msgspec.json.Decoder(AppIdShape).decode


def changed_files(repository: Repository, pull: int) -> Call[tuple[tuple[str, ...], ...]]:
    """The names of each changed file: one, or two when it was renamed."""
    return Call(
        method="GET",
        path=f"{_repo(repository)}/pulls/{int(pull)}/files",
        params={"per_page": "100"},
        about=f"the files of #{pull} of {repository}",
        read=lambda body: tuple(
            tuple(name for name in (shape.filename, shape.previous_filename) if name) for shape in _files(body)
        ),
    )


def membership(organization: str, team: str, login: str) -> Call[bool]:
    """https://docs.github.com/en/rest/teams/members#get-team-membership-for-a-user"""
    return Call(
        method="GET",
        path=f"/orgs/{quote(organization, safe='')}/teams/{_slug(team)}/memberships/{_slug(login)}",
        about=f"the membership of {login} in the team {team}",
        read=lambda body: _membership(body).state == "active",
    )


def app_behind(login: str) -> Call[int]:
    """A bot's login is its App's slug with ``[bot]`` behind it, and slugs are unique.
    https://docs.github.com/en/rest/apps/apps#get-an-app"""
    if not login.endswith(_BOT):
        raise Invalid("That is not the login of an App's bot.", code="invalid_login")
    slug = _slug(login.removesuffix(_BOT))

    def value(body: bytes) -> int:
        shape = _app(body)
        return shape.id if shape.slug.lower() == slug.lower() else 0

    return Call(method="GET", path=f"/apps/{slug}", about=f"the App behind {login}", read=value)


def _slug(text: str) -> str:
    if _SLUG.fullmatch(text) is None:
        raise Invalid("That is not a name on GitHub.", code="invalid_login")
    return quote(text, safe="")


def _repo(repository: Repository) -> str:
    return f"/repos/{quote(repository.owner, safe='')}/{quote(repository.name, safe='')}"
