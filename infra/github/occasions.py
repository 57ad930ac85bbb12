"""Webhook events → occasions: the one place that knows how GitHub says things. Pure.

What can start nothing under any trigger is ``Nothing`` with its reason: deletions, edits, labels taken away. Edits are left
alone on purpose: whoever may edit a comment could otherwise change what somebody else asked for.
"""

from __future__ import annotations

from datetime import datetime

from infra.core.ask import Place, PullHead, Via
from infra.core.clock import Instant
from infra.core.occasion import Check, Kind, Nothing, Occasion, Sender
from infra.core.repository import parse_full_name, parse_ref
from infra.github import payloads as p
from infra.github.events import Event

_ENDED_OPEN = "open"
_BRANCH = "refs/heads/"
_MOST_FILES = 2_048
"""Commits in a push's payload at most. https://docs.github.com/en/webhooks/webhook-events-and-payloads#push"""


def occasion(event: Event, received: Instant) -> Occasion | Nothing:
    """What has happened. ``received``: for events whose payload has no time of its own.

    Raises ``Invalid`` for a repository or branch whose name no forge would allow.
    """
    match event:
        case p.IssuesEvent():
            return _issue(event)
        case p.IssueCommentEvent():
            return _comment(event)
        case p.PullRequestEvent():
            return _pull(event)
        case p.ReviewEvent():
            return _review(event)
        case p.ReviewCommentEvent():
            return _line_comment(event)
        case p.CheckRunEvent():
            return _check_run(event, received)
        case p.CheckSuiteEvent():
            return _check_suite(event, received)
        case p.PushEvent():
            return _push(event, received)
        case p.WorkflowRunEvent():
            return Nothing("A workflow run starts nothing by itself: its check suite tells when all checks are done.")
        case _:
            return Nothing(f"{type(event).__name__} starts nothing.")


def _issue(event: p.IssuesEvent) -> Occasion | Nothing:
    kinds = {"opened": Kind.OPENED, "labeled": Kind.LABELED, "assigned": Kind.ASSIGNED}
    if event.action not in kinds:
        return Nothing(f"issues.{event.action} starts nothing.")
    issue = event.issue
    opened = event.action == "opened"
    return Occasion(
        kind=kinds[event.action],
        via=Via.ISSUE,
        repository=parse_full_name(event.repository.full_name),
        installation_id=event.installation.id,
        default_branch=event.repository.default_branch,
        # the App that an issue names has created it; who labels it later is somebody else
        sender=_sender(event.sender, issue.performed_via_github_app if opened else None),
        author=_login(issue.user),
        at=_instant(issue.updated_at),
        number=issue.number,
        open=issue.state in {"", _ENDED_OPEN},
        title=issue.title,
        body=issue.body or "",
        said=issue.body or "",
        url=issue.html_url,
        subject_url=issue.html_url,
        label=event.label.name if event.label else "",
        labels=tuple(label.name for label in issue.labels),
        assignee=_login(event.assignee),
    )


def _comment(event: p.IssueCommentEvent) -> Occasion | Nothing:
    if event.action != "created":
        return Nothing(f"issue_comment.{event.action} starts nothing.")
    issue, comment = event.issue, event.comment
    return Occasion(
        kind=Kind.COMMENTED,
        via=Via.COMMENT,
        repository=parse_full_name(event.repository.full_name),
        installation_id=event.installation.id,
        default_branch=event.repository.default_branch,
        sender=_sender(event.sender, comment.performed_via_github_app),
        author=_login(comment.user),
        at=_instant(comment.created_at),
        number=issue.number,
        is_pull=issue.pull_request is not None,
        open=issue.state in {"", _ENDED_OPEN},
        draft=bool(issue.draft),
        title=issue.title,
        body=issue.body or "",
        said=comment.body,
        url=comment.html_url,
        subject_url=issue.html_url,
        id=comment.id,
        labels=tuple(label.name for label in issue.labels),
    )


def _pull(event: p.PullRequestEvent) -> Occasion | Nothing:
    kinds = {
        "opened": Kind.OPENED,
        "ready_for_review": Kind.READY,
        "labeled": Kind.LABELED,
        "assigned": Kind.ASSIGNED,
    }
    if event.action not in kinds:
        return Nothing(f"pull_request.{event.action} starts nothing.")
    pull = event.pull_request
    return _on_pull(
        event,
        pull,
        kind=kinds[event.action],
        via=Via.PULL,
        sender=_sender(event.sender, None),
        author=_login(pull.user),
        at=_instant(pull.updated_at),
        said=pull.body or "",
        url=pull.html_url,
        label=event.label.name if event.label else "",
        assignee=_login(event.assignee),
    )


def _review(event: p.ReviewEvent) -> Occasion | Nothing:
    review = event.review
    if event.action != "submitted" or review.submitted_at is None:
        return Nothing(f"pull_request_review.{event.action} starts nothing.")
    return _on_pull(
        event,
        event.pull_request,
        kind=Kind.REVIEWED,
        via=Via.REVIEW,
        sender=_sender(event.sender, review.performed_via_github_app),
        author=_login(review.user),
        at=_instant(review.submitted_at),
        said=review.body or "",
        url=review.html_url,
        id=review.id,
        review_state=review.state.lower(),
    )


def _line_comment(event: p.ReviewCommentEvent) -> Occasion | Nothing:
    if event.action != "created":
        return Nothing(f"pull_request_review_comment.{event.action} starts nothing.")
    comment = event.comment
    line = comment.line or 0
    place = Place(
        path=comment.path,
        line=line,
        start=comment.start_line or line,
        side=comment.side or "RIGHT",
        hunk=comment.diff_hunk,
    )
    return _on_pull(
        event,
        event.pull_request,
        kind=Kind.COMMENTED,
        via=Via.LINE,
        sender=_sender(event.sender, comment.performed_via_github_app),
        author=_login(comment.user),
        at=_instant(comment.created_at),
        said=comment.body,
        url=comment.html_url,
        id=comment.id,
        place=place,
    )


def _on_pull(
    event: p.PullRequestEvent | p.ReviewEvent | p.ReviewCommentEvent,
    pull: p.Pull,
    *,
    kind: Kind,
    via: Via,
    sender: Sender,
    author: str,
    at: Instant,
    said: str,
    url: str,
    id: int = 0,  # noqa: A002 - the field's name
    label: str = "",
    assignee: str = "",
    review_state: str = "",
    place: Place | None = None,
) -> Occasion:
    return Occasion(
        kind=kind,
        via=via,
        repository=parse_full_name(event.repository.full_name),
        installation_id=event.installation.id,
        default_branch=event.repository.default_branch,
        sender=sender,
        author=author,
        at=at,
        number=pull.number,
        is_pull=True,
        open=pull.state == _ENDED_OPEN,
        draft=bool(pull.draft),
        title=pull.title,
        body=pull.body or "",
        said=said,
        url=url,
        subject_url=pull.html_url,
        id=id,
        label=label,
        labels=tuple(each.name for each in pull.labels),
        assignee=assignee,
        review_state=review_state,
        pull=_head(pull),
        place=place,
    )


def _head(pull: p.Pull) -> PullHead:
    here, there = pull.base.repo, pull.head.repo
    return PullHead(
        number=pull.number,
        branch=parse_ref(pull.head.ref),
        sha=pull.head.sha,
        base_branch=parse_ref(pull.base.ref),
        # a head whose repository is gone was a fork's
        fork=there is None or here is None or there.id != here.id,
        open=pull.state == _ENDED_OPEN,
        draft=bool(pull.draft),
    )


def _check_run(event: p.CheckRunEvent, received: Instant) -> Occasion | Nothing:
    run = event.check_run
    if event.action != "completed" or run.conclusion is None:
        return Nothing(f"check_run.{event.action} starts nothing.")
    suite = run.check_suite
    check = Check(
        id=run.id,
        name=run.name,
        suite=False,
        conclusion=run.conclusion,
        sha=run.head_sha,
        branch=(suite.head_branch if suite else None) or "",
    )
    return _checked(event, check, run, run.html_url or "", received)


def _check_suite(event: p.CheckSuiteEvent, received: Instant) -> Occasion | Nothing:
    suite = event.check_suite
    if event.action != "completed" or suite.conclusion is None:
        return Nothing(f"check_suite.{event.action} starts nothing.")
    check = Check(
        id=suite.id,
        name=suite.app.slug if suite.app else "",
        suite=True,
        conclusion=suite.conclusion,
        sha=suite.head_sha,
        branch=suite.head_branch or "",
    )
    return _checked(event, check, suite, "", received)


def _checked(
    event: p.CheckRunEvent | p.CheckSuiteEvent,
    check: Check,
    made: p.CheckRun | p.CheckSuite,
    url: str,
    received: Instant,
) -> Occasion:
    """The sender is whoever pushed, often our own bot: what counts is the App whose check it is."""
    number = made.pull_requests[0].number if made.pull_requests else 0
    return Occasion(
        kind=Kind.CHECKED,
        via=Via.CHECK,
        repository=parse_full_name(event.repository.full_name),
        installation_id=event.installation.id,
        default_branch=event.repository.default_branch,
        sender=_sender(event.sender, made.app),
        author=event.sender.login,
        at=received,
        number=number,
        is_pull=bool(number),
        title=f"{check.name or 'Checks'}: {check.conclusion}",
        url=url,
        id=check.id,
        check=check,
        ref=check.branch,
    )


def _push(event: p.PushEvent, received: Instant) -> Occasion | Nothing:
    if event.deleted or not event.ref.startswith(_BRANCH):
        return Nothing("Only pushes to branches can start something.")
    branch = parse_ref(event.ref)
    files = {path for commit in event.commits for path in (*commit.added, *commit.modified, *commit.removed)}
    return Occasion(
        kind=Kind.PUSHED,
        via=Via.PUSH,
        repository=parse_full_name(event.repository.full_name),
        installation_id=event.installation.id,
        default_branch=event.repository.default_branch,
        sender=_sender(event.sender, None),
        author=event.sender.login,
        at=received,
        title=f"Push to {branch}",
        ref=branch,
        sha=event.after,
        files=tuple(sorted(files)),
    )


def settings_changed(event: Event, path: str) -> bool:
    """Whether a push may have changed the file ``path`` on the default branch. A long or forced push is taken for a yes."""
    if not isinstance(event, p.PushEvent) or event.ref != f"{_BRANCH}{event.repository.default_branch}":
        return False
    if event.forced or event.created or len(event.commits) >= _MOST_FILES:
        return True
    return any(path in (*commit.added, *commit.modified, *commit.removed) for commit in event.commits)


def _sender(account: p.Account, app: p.App | None) -> Sender:
    return Sender(login=account.login, bot=account.type == "Bot", app=app.id if app else 0)


def _login(account: p.Account | None) -> str:
    return account.login if account else "ghost"


def _instant(moment: datetime) -> Instant:
    return Instant(int(moment.timestamp() * 1000))
