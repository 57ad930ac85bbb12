"""The shapes of webhook bodies: what is used of each event, strict about that and blind to everything else.

GitHub adds keys without notice, so unknown ones are skipped unparsed; a needed one that is missing or odd makes the
delivery ``Invalid``. https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Action = Annotated[str, Meta(pattern=r"\A[a-z_]{1,64}\Z")]
WebUrl = Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,2000}\Z")]
Sha = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")]
Moment = Annotated[datetime, Meta(tz=True)]
FullName = Annotated[str, Meta(min_length=3, max_length=300)]
"""``owner/name``, still to be checked by ``infra.core.repository``."""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all shapes: immutable, unknown keys are skipped without being parsed."""


class Account(Payload, frozen=True, kw_only=True):
    """``type``: User, Bot, Organization, Mannequin …"""

    id: Id
    login: Name
    type: str = "User"


class App(Payload, frozen=True, kw_only=True):
    id: Id
    slug: str = ""


class RepositoryName(Payload, frozen=True, kw_only=True):
    """``default_branch`` is empty where a payload names a repository in short."""

    id: Id
    full_name: FullName
    default_branch: str = ""


class InstallationId(Payload, frozen=True, kw_only=True):
    id: Id


class Label(Payload, frozen=True, kw_only=True):
    name: Name


class PullLink(Payload, frozen=True, kw_only=True):
    """Its presence makes an issue a pull request."""


class Issue(Payload, frozen=True, kw_only=True):
    """``body`` None: left empty. ``user`` None: the account was deleted. ``updated_at`` has a UTC offset.
    ``state`` is empty in the few payloads that leave it out. The App, where it says one, *created* the issue."""

    number: Id
    title: str
    html_url: WebUrl
    updated_at: Moment
    user: Account | None
    state: str = ""
    author_association: str = "NONE"
    body: str | None = None
    labels: tuple[Label, ...] = ()
    pull_request: PullLink | None = None
    draft: bool | None = None
    performed_via_github_app: App | None = None


class Comment(Payload, frozen=True, kw_only=True):
    """On an issue or a pull request's conversation. The App, where it says one, wrote it."""

    id: Id
    html_url: WebUrl
    created_at: Moment
    updated_at: Moment
    user: Account | None
    body: str
    performed_via_github_app: App | None = None


class Branch(Payload, frozen=True, kw_only=True):
    """One end of a pull request. ``repo`` None: the fork that it was on is gone."""

    ref: Name
    sha: Sha
    repo: RepositoryName | None


class Pull(Payload, frozen=True, kw_only=True):
    number: Id
    title: str
    html_url: WebUrl
    state: str
    user: Account | None
    head: Branch
    base: Branch
    updated_at: Moment
    body: str | None = None
    draft: bool | None = None
    merged: bool | None = None
    labels: tuple[Label, ...] = ()


class Review(Payload, frozen=True, kw_only=True):
    """``state``: commented, changes_requested, approved or dismissed, in either case. ``submitted_at`` None: pending."""

    id: Id
    html_url: WebUrl
    state: Annotated[str, Meta(pattern=r"\A[A-Za-z_]{1,64}\Z")]
    user: Account | None
    commit_id: Sha | None = None
    submitted_at: Moment | None = None
    body: str | None = None
    performed_via_github_app: App | None = None


class ReviewComment(Payload, frozen=True, kw_only=True):
    """On a line of a diff. ``line`` None: the line is not in the newest diff any more."""

    id: Id
    html_url: WebUrl
    created_at: Moment
    updated_at: Moment
    user: Account | None
    body: str
    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    diff_hunk: str = ""
    commit_id: Sha | None = None
    line: int | None = None
    start_line: int | None = None
    original_line: int | None = None
    side: str | None = None
    in_reply_to_id: Id | None = None
    pull_request_review_id: Id | None = None
    performed_via_github_app: App | None = None


class PullNumber(Payload, frozen=True, kw_only=True):
    """A pull request as checks name it; those from forks are not named.
    https://docs.github.com/en/rest/checks/runs#get-a-check-run"""

    number: Id


class SuiteOfRun(Payload, frozen=True, kw_only=True):
    id: Id
    head_branch: str | None = None


class CheckRun(Payload, frozen=True, kw_only=True):
    id: Id
    name: Name
    status: str
    conclusion: str | None
    head_sha: Sha
    html_url: str | None = None
    app: App | None = None
    check_suite: SuiteOfRun | None = None
    pull_requests: tuple[PullNumber, ...] = ()


class CheckSuite(Payload, frozen=True, kw_only=True):
    id: Id
    status: str | None
    conclusion: str | None
    head_sha: Sha
    head_branch: str | None = None
    app: App | None = None
    pull_requests: tuple[PullNumber, ...] = ()


class WorkflowRun(Payload, frozen=True, kw_only=True):
    """A run of GitHub Actions. ``head_repository`` differs from the delivery's repository for a fork's."""

    id: Id
    name: str | None
    status: str | None
    conclusion: str | None
    head_sha: Sha
    head_branch: str | None
    head_repository: RepositoryName | None = None
    html_url: str | None = None
    pull_requests: tuple[PullNumber, ...] = ()


class Commit(Payload, frozen=True, kw_only=True):
    id: Sha
    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Delivered(Payload, frozen=True, kw_only=True):
    """What every delivery of an App about a repository has."""

    repository: RepositoryName
    installation: InstallationId
    sender: Account


class IssuesEvent(Delivered, frozen=True, kw_only=True):
    """``issues``. ``label`` is the one just added or removed, ``assignee`` the one just assigned."""

    action: Action
    issue: Issue
    label: Label | None = None
    assignee: Account | None = None


class IssueCommentEvent(Delivered, frozen=True, kw_only=True):
    """``issue_comment``: on an issue, or in the conversation of a pull request."""

    action: Action
    issue: Issue
    comment: Comment


class PullRequestEvent(Delivered, frozen=True, kw_only=True):
    """``pull_request``. ``label`` and ``assignee`` as in ``issues``."""

    action: Action
    pull_request: Pull
    label: Label | None = None
    assignee: Account | None = None


class ReviewEvent(Delivered, frozen=True, kw_only=True):
    """``pull_request_review``; its comments on lines are deliveries of their own."""

    action: Action
    pull_request: Pull
    review: Review


class ReviewCommentEvent(Delivered, frozen=True, kw_only=True):
    """``pull_request_review_comment``: one comment on a line."""

    action: Action
    pull_request: Pull
    comment: ReviewComment


class CheckRunEvent(Delivered, frozen=True, kw_only=True):
    action: Action
    check_run: CheckRun


class CheckSuiteEvent(Delivered, frozen=True, kw_only=True):
    action: Action
    check_suite: CheckSuite


class WorkflowRunEvent(Delivered, frozen=True, kw_only=True):
    action: Action
    workflow_run: WorkflowRun


class PushEvent(Delivered, frozen=True, kw_only=True):
    """``push``. ``after`` is all zeros for a deleted ref. ``commits`` has at most 2,048."""

    ref: Annotated[str, Meta(min_length=1, max_length=1000)]
    before: Sha
    after: Sha
    created: bool
    deleted: bool
    forced: bool
    commits: tuple[Commit, ...]


class InstalledOn(Payload, frozen=True, kw_only=True):
    id: Id
    full_name: FullName


class Installation(Payload, frozen=True, kw_only=True):
    id: Id
    app_id: Id
    account: Account | None = None
    suspended_at: Moment | None = None


class InstallationEvent(Payload, frozen=True, kw_only=True):
    """``installation``: the App came, went, was suspended, or was given other permissions."""

    action: Literal["created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"]
    installation: Installation
    sender: Account
    repositories: tuple[InstalledOn, ...] | None = None


class InstallationRepositoriesEvent(Payload, frozen=True, kw_only=True):
    """``installation_repositories``: repositories were given to the App, or taken from it."""

    action: Literal["added", "removed"]
    installation: Installation
    sender: Account
    repositories_added: tuple[InstalledOn, ...]
    repositories_removed: tuple[InstalledOn, ...]


class RepositoryEvent(Delivered, frozen=True, kw_only=True):
    """``repository``: renamed, transferred, archived, deleted …"""

    action: Literal[
        "archived",
        "created",
        "deleted",
        "edited",
        "privatized",
        "publicized",
        "renamed",
        "transferred",
        "unarchived",
    ]


class Ping(Payload, frozen=True, kw_only=True):
    """``ping``: GitHub's greeting when a hook is made or tested."""

    zen: Annotated[str, Meta(max_length=1000)]
    hook_id: Id
