"""What is read, one function each. https://docs.github.com/en/rest"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from infra.core.ask import Via
from infra.core.context import LineSaid, Linked, Said
from infra.core.errors import Invalid
from infra.core.repository import Repository
from infra.github.protocol import Call
from infra.github.shapes import Aware, Shape, instant

_SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9_])?")
_BOT = "[bot]"


class WriterShape(Shape, frozen=True, kw_only=True):
    login: str
    type: str = "User"


class ChangedFileShape(Shape, frozen=True, kw_only=True):
    filename: str
    previous_filename: str = ""


class MembershipShape(Shape, frozen=True, kw_only=True):
    """``state``: active, or pending until the person has accepted."""

    state: str


class AppIdShape(Shape, frozen=True, kw_only=True):
    id: int
    slug: str


class SaidShape(Shape, frozen=True, kw_only=True):
    """``user`` None: the account was deleted."""

    id: int
    created_at: Aware
    updated_at: Aware
    body: str | None = None
    user: WriterShape | None = None

    def value(self) -> Said:
        return Said(
            id=self.id,
            author=self.user.login if self.user else "ghost",
            text=self.body or "",
            written_at=instant(self.created_at),
            changed_at=instant(self.updated_at),
            bot=self.user is not None and self.user.type == "Bot",
        )


class LineSaidShape(SaidShape, frozen=True, kw_only=True):
    path: str
    diff_hunk: str = ""
    line: int | None = None
    in_reply_to_id: int | None = None

    def line_value(self) -> LineSaid:
        return LineSaid(
            said=self.value(),
            path=self.path,
            line=self.line or 0,
            hunk=self.diff_hunk,
            answers=self.in_reply_to_id or 0,
        )


class LinkedShape(Shape, frozen=True, kw_only=True):
    number: int
    title: str
    state: str
    body: str | None = None


class AnnotationShape(Shape, frozen=True, kw_only=True):
    path: str = ""
    start_line: int = 0
    annotation_level: str | None = None
    message: str | None = None


class RenderedShape(Shape, frozen=True, kw_only=True):
    body_html: str | None = None


_files = msgspec.json.Decoder(tuple[ChangedFileShape, ...]).decode
_membership = msgspec.json.Decoder(MembershipShape).decode
_app = msgspec.json.Decoder(AppIdShape).decode
_said = msgspec.json.Decoder(tuple[SaidShape, ...]).decode
_lines = msgspec.json.Decoder(tuple[LineSaidShape, ...]).decode
_linked = msgspec.json.Decoder(LinkedShape).decode
_annotations = msgspec.json.Decoder(tuple[AnnotationShape, ...]).decode
_rendered = msgspec.json.Decoder(RenderedShape).decode

_RENDERED = "application/vnd.github.full+json"
"""Brings ``body_html``, where attachments of private repositories have addresses that work for a few minutes.
https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#media-types"""


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


def said_on(repository: Repository, number: int) -> Call[tuple[Said, ...]]:
    return Call(
        method="GET",
        path=f"{_repo(repository)}/issues/{int(number)}/comments",
        params={"per_page": "100"},
        about=f"the conversation of #{number} of {repository}",
        read=lambda body: tuple(shape.value() for shape in _said(body)),
    )


def lines_said_on(repository: Repository, pull: int) -> Call[tuple[LineSaid, ...]]:
    return Call(
        method="GET",
        path=f"{_repo(repository)}/pulls/{int(pull)}/comments",
        params={"per_page": "100"},
        about=f"the review comments of #{pull} of {repository}",
        read=lambda body: tuple(shape.line_value() for shape in _lines(body)),
    )


def linked(repository: Repository, number: int) -> Call[Linked]:
    def value(body: bytes) -> Linked:
        shape = _linked(body)
        return Linked(number=shape.number, title=shape.title, state=shape.state, text=shape.body or "")

    return Call(
        method="GET",
        path=f"{_repo(repository)}/issues/{int(number)}",
        about=f"#{number} of {repository}",
        read=value,
    )


def notes_of(repository: Repository, check: int) -> Call[tuple[str, ...]]:
    return Call(
        method="GET",
        path=f"{_repo(repository)}/check-runs/{int(check)}/annotations",
        params={"per_page": "100"},
        about=f"the notes of a check of {repository}",
        read=lambda body: tuple(f"{each.path}:{each.start_line}: {each.message or ''}" for each in _annotations(body)),
    )


def job_log(repository: Repository, job: int) -> Call[bytes]:
    """Answered by a redirect. A check run of GitHub Actions has the number of its job.
    https://docs.github.com/en/rest/actions/workflow-jobs#download-job-logs-for-a-workflow-run"""
    return Call(
        method="GET",
        path=f"{_repo(repository)}/actions/jobs/{int(job)}/logs",
        about=f"the log of a job of {repository}",
        read=bytes,
    )


def rendered(repository: Repository, via: Via, number: int) -> Call[str]:
    """The HTML of an issue or pull request, or of a comment."""
    kind = {Via.COMMENT: "issues/comments", Via.LINE: "pulls/comments"}.get(via, "issues")
    return Call(
        method="GET",
        path=f"{_repo(repository)}/{kind}/{int(number)}",
        accept=_RENDERED,
        about=f"a text of {repository}",
        read=lambda body: _rendered(body).body_html or "",
    )


def _slug(text: str) -> str:
    if _SLUG.fullmatch(text) is None:
        raise Invalid("That is not a name on GitHub.", code="invalid_login")
    return quote(text, safe="")


def _repo(repository: Repository) -> str:
    return f"/repos/{quote(repository.owner, safe='')}/{quote(repository.name, safe='')}"
