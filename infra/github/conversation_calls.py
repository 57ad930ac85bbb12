"""What is said and done in a conversation, one function each. https://docs.github.com/en/rest/issues, …/rest/checks"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from infra.core.clock import Instant, iso
from infra.core.conversing import CheckRun, Comment, NewCheck, Reaction, Relation, Spoken
from infra.core.repository import Repository, parse_ref
from infra.github.calls import login_path, reader, repo_path
from infra.github.conversation_shapes import CheckRunsShape, CommentShape, ComparisonShape, IdShape
from infra.github.protocol import Call

_id = reader(IdShape)
_comments = reader(tuple[CommentShape, ...])
_checks = reader(CheckRunsShape)
_comparison = reader(ComparisonShape)

_SPOKEN = {Spoken.ISSUE: "issues", Spoken.COMMENT: "issues/comments", Spoken.REVIEW_COMMENT: "pulls/comments"}


def comment(repository: Repository, issue: int, body: str) -> Call[int]:
    return Call(
        method="POST",
        path=f"{_issue(repository, issue)}/comments",
        json={"body": body},
        about=f"a comment on #{issue} of {repository}",
        read=lambda answer: _id(answer).id,
    )


def edit_comment(repository: Repository, number: int, body: str) -> Call[None]:
    return Call(
        method="PATCH",
        path=f"{repo_path(repository)}/issues/comments/{int(number)}",
        json={"body": body},
        about=f"comment {number} of {repository}",
        read=_nothing,
        repeatable=True,
    )


def comments_since(repository: Repository, issue: int, since: Instant) -> Call[tuple[Comment, ...]]:
    return Call(
        method="GET",
        path=f"{_issue(repository, issue)}/comments",
        params={"since": _second(since), "per_page": "100"},
        about=f"the comments on #{issue} of {repository}",
        read=_read_comments,
    )


def react(repository: Repository, spoken: Spoken, number: int, reaction: Reaction) -> Call[None]:
    return Call(
        method="POST",
        path=f"{repo_path(repository)}/{_SPOKEN[spoken]}/{int(number)}/reactions",
        json={"content": reaction.value},
        about=f"a reaction in {repository}",
        read=_nothing,
        repeatable=True,
    )


def add_labels(repository: Repository, issue: int, names: Sequence[str]) -> Call[None]:
    return Call(
        method="POST",
        path=f"{_issue(repository, issue)}/labels",
        json={"labels": list(names)},
        about=f"the labels of #{issue} of {repository}",
        read=_nothing,
        repeatable=True,
    )


def remove_label(repository: Repository, issue: int, name: str) -> Call[None]:
    return Call(
        method="DELETE",
        path=f"{_issue(repository, issue)}/labels/{quote(name, safe='')}",
        about=f"the label {name} of #{issue} of {repository}",
        read=_nothing,
    )


def assign(repository: Repository, issue: int, logins: Sequence[str]) -> Call[None]:
    return Call(
        method="POST",
        path=f"{_issue(repository, issue)}/assignees",
        json={"assignees": _people(logins)},
        about=f"the assignees of #{issue} of {repository}",
        read=_nothing,
        repeatable=True,
    )


def request_reviewers(repository: Repository, pull: int, logins: Sequence[str], teams: Sequence[str]) -> Call[None]:
    return Call(
        method="POST",
        path=f"{_pull(repository, pull)}/requested_reviewers",
        json={"reviewers": _people(logins), "team_reviewers": list(teams)},
        about=f"the reviewers of #{pull} of {repository}",
        read=_nothing,
        repeatable=True,
    )


def reply(repository: Repository, pull: int, number: int, body: str) -> Call[int]:
    return Call(
        method="POST",
        path=f"{_pull(repository, pull)}/comments/{int(number)}/replies",
        json={"body": body},
        about=f"an answer in a thread of #{pull} of {repository}",
        read=lambda answer: _id(answer).id,
    )


def review_comments_since(repository: Repository, pull: int, since: Instant) -> Call[tuple[Comment, ...]]:
    return Call(
        method="GET",
        path=f"{_pull(repository, pull)}/comments",
        params={"since": _second(since), "per_page": "100"},
        about=f"the review comments on #{pull} of {repository}",
        read=_read_comments,
    )


def add_check(repository: Repository, check: NewCheck) -> Call[int]:
    return Call(
        method="POST",
        path=f"{repo_path(repository)}/check-runs",
        json={
            "name": check.name,
            "head_sha": check.head_sha,
            "external_id": check.external_id,
            "status": "completed",
            "conclusion": check.conclusion.value,
            "details_url": check.details_url,
            "output": {"title": check.title, "summary": check.summary},
        },
        about=f"a check on {check.head_sha[:12]} of {repository}",
        read=lambda answer: _id(answer).id,
    )


def checks_on(repository: Repository, ref: str, *, newest: bool) -> Call[tuple[CheckRun, ...]]:
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/commits/{quote(parse_ref(ref), safe='')}/check-runs",
        params={"filter": "latest" if newest else "all", "per_page": "100"},
        about=f"the checks on {ref} of {repository}",
        read=lambda answer: tuple(shape.value() for shape in _checks(answer).check_runs),
    )


def rerun_check(repository: Repository, check: CheckRun) -> Call[None]:
    """A check of GitHub Actions is a job of the same number; other Apps are asked to run theirs again.
    https://docs.github.com/en/rest/actions/workflow-runs#re-run-a-job-from-a-workflow-run"""
    path = f"actions/jobs/{check.id}/rerun" if check.app == "github-actions" else f"check-runs/{check.id}/rerequest"
    return Call(
        method="POST",
        path=f"{repo_path(repository)}/{path}",
        about=f"the check {check.name} of {repository}",
        read=_nothing,
        repeatable=True,
    )


def compare(repository: Repository, base: str, head: str) -> Call[Relation]:
    """One commit a page: only the relation is wanted, and GitHub would send up to 250 with their files."""
    span = f"{quote(parse_ref(base), safe='')}...{quote(parse_ref(head), safe='')}"
    return Call(
        method="GET",
        path=f"{repo_path(repository)}/compare/{span}",
        params={"per_page": "1"},
        about=f"the comparison of {base[:12]} and {head[:12]} of {repository}",
        read=lambda answer: Relation(_comparison(answer).status),
    )


def _read_comments(body: bytes) -> tuple[Comment, ...]:
    return tuple(shape.value() for shape in _comments(body))


def _nothing(body: bytes) -> None:
    """For answers that say nothing new."""


def _issue(repository: Repository, number: int) -> str:
    return f"{repo_path(repository)}/issues/{int(number)}"


def _pull(repository: Repository, number: int) -> str:
    return f"{repo_path(repository)}/pulls/{int(number)}"


def _people(logins: Sequence[str]) -> list[str]:
    """Raises ``Invalid`` for what cannot be anybody's login."""
    for login in logins:
        login_path(login)
    return list(logins)


def _second(moment: Instant) -> str:
    """RFC 3339 without fractions, as GitHub asks for."""
    return iso(moment)[:19] + "Z"
