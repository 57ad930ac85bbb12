"""GitHub's answers about comments, threads and checks."""

from __future__ import annotations

from infra.core.conversing import CheckRun, Comment
from infra.github.shapes import AccountShape, Aware, Shape, instant


class IdShape(Shape, frozen=True, kw_only=True):
    id: int


class CommentShape(Shape, frozen=True, kw_only=True):
    """``user`` None: the account was deleted."""

    id: int
    html_url: str
    body: str | None = None
    user: AccountShape | None = None

    def value(self) -> Comment:
        return Comment(id=self.id, author=self.user.login if self.user else "", body=self.body or "", url=self.html_url)


class OutputShape(Shape, frozen=True, kw_only=True):
    title: str | None = None
    summary: str | None = None


class CheckAppShape(Shape, frozen=True, kw_only=True):
    slug: str = ""


class CheckRunShape(Shape, frozen=True, kw_only=True):
    id: int
    name: str
    status: str
    conclusion: str | None
    app: CheckAppShape | None = None
    output: OutputShape = OutputShape()
    external_id: str | None = None
    html_url: str | None = None
    started_at: Aware | None = None

    def value(self) -> CheckRun:
        return CheckRun(
            id=self.id,
            name=self.name,
            app=self.app.slug if self.app else "",
            status=self.status,
            conclusion=self.conclusion or "",
            external_id=self.external_id or "",
            title=self.output.title or "",
            summary=self.output.summary or "",
            url=self.html_url or "",
            started_at=instant(self.started_at) if self.started_at else None,
        )


class CheckRunsShape(Shape, frozen=True, kw_only=True):
    check_runs: tuple[CheckRunShape, ...]


class ComparisonShape(Shape, frozen=True, kw_only=True):
    status: str
