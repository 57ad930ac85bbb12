"""Repositories: settings, roles, numbers for issues; the objects live in a bare git repository beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from infra.core.clock import SECOND, Instant
from infra.local.forge import account
from infra.local.forge.access import at_least, role_of
from infra.local.forge.account import Account, node_id, stamp
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World


MERGING: Mapping[str, bool] = {
    "allow_squash_merge": True,
    "allow_merge_commit": True,
    "allow_rebase_merge": False,
    "allow_auto_merge": False,
    "delete_branch_on_merge": False,
}
"""What merging allows; the same everywhere, and shown where GitHub shows it."""


class Repository(Row, frozen=True, kw_only=True):
    """``roles``: account id (as text) → role. ``protected``: the default branch changes only by merging a pull request."""

    owner: int
    owner_login: str
    name: str
    private: bool
    archived: bool = False
    default_branch: str = "main"
    protected: bool = False
    description: str = ""
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    last_number: int = 0
    created_at: Instant
    pushed_at: Instant

    @property
    def full_name(self) -> str:
        return f"{self.owner_login}/{self.name}"


def find(world: World, owner: str, name: str) -> Repository | None:
    """Names are found in any case, as on GitHub."""
    return world.repositories.at((owner.lower(), name.lower()))


def current(world: World, repository: Repository) -> Repository:
    """The row as it is now; a handler may hold one from before an ``await``."""
    return world.repositories.get(repository.id) or repository


def next_number(world: World, repository: Repository) -> int:
    """Issues and pull requests share one sequence."""
    row = current(world, repository)
    return world.repositories.put(replace(row, last_number=row.last_number + 1)).last_number


def set_role(world: World, repository: Repository, person: Account, role: str) -> Repository:
    row = current(world, repository)
    return world.repositories.put(replace(row, roles={**row.roles, str(person.id): role}))


def association(repository: Repository, account_id: int) -> str:
    """GitHub's ``author_association`` as far as roles tell it."""
    if account_id == repository.owner:
        return "OWNER"
    if at_least(role_of(repository, account_id), "triage"):
        return "COLLABORATOR"
    return "NONE"


def shape(world: World, row: Repository) -> dict[str, Any]:
    owner = world.accounts.get(row.owner)
    assert owner is not None
    open_issues = sum(1 for issue in world.issues.of(row.id) if issue.state == "open")
    return {
        "id": row.id,
        "node_id": node_id("R", row.id),
        "name": row.name,
        "full_name": row.full_name,
        "private": row.private,
        "owner": account.shape(world, owner),
        "html_url": f"{world.url}/{row.full_name}",
        "description": row.description or None,
        "fork": False,
        **_urls(world, row),
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.pushed_at),
        "pushed_at": stamp(row.pushed_at),
        "homepage": None,
        "size": 0,
        "stargazers_count": 0,
        "watchers_count": 0,
        "language": None,
        "has_issues": True,
        "has_projects": False,
        "has_downloads": False,
        "has_wiki": False,
        "has_pages": False,
        "has_discussions": False,
        "forks_count": 0,
        "mirror_url": None,
        "archived": row.archived,
        "disabled": False,
        "open_issues_count": open_issues,
        "license": None,
        "allow_forking": False,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": [],
        "visibility": "private" if row.private else "public",
        "forks": 0,
        "open_issues": open_issues,
        "watchers": 0,
        "default_branch": row.default_branch,
        "custom_properties": {},
    }


def shape_for_push(world: World, row: Repository) -> dict[str, Any]:
    """In ``push`` payloads GitHub gives two times as numbers and two old names besides."""
    full = shape(world, row)
    owner = world.accounts.get(row.owner)
    assert owner is not None
    return {
        **full,
        "owner": {"name": owner.login, "email": owner.email, **full["owner"]},
        "created_at": row.created_at // SECOND,
        "pushed_at": row.pushed_at // SECOND,
        "stargazers": 0,
        "master_branch": row.default_branch,
    }


def shape_permissions(row: Repository, account_id: int) -> dict[str, bool]:
    role = role_of(row, account_id)
    rights = {"admin": "admin", "maintain": "maintain", "push": "write", "triage": "triage", "pull": "read"}
    return {right: at_least(role, needed) for right, needed in rights.items()}


def _urls(world: World, row: Repository) -> dict[str, str]:
    api, page = world.api(f"/repos/{row.full_name}"), f"{world.url}/{row.full_name}"
    return {
        "url": api,
        "forks_url": f"{api}/forks",
        "keys_url": f"{api}/keys{{/key_id}}",
        "collaborators_url": f"{api}/collaborators{{/collaborator}}",
        "teams_url": f"{api}/teams",
        "hooks_url": f"{api}/hooks",
        "issue_events_url": f"{api}/issues/events{{/number}}",
        "events_url": f"{api}/events",
        "assignees_url": f"{api}/assignees{{/user}}",
        "branches_url": f"{api}/branches{{/branch}}",
        "tags_url": f"{api}/tags",
        "blobs_url": f"{api}/git/blobs{{/sha}}",
        "git_tags_url": f"{api}/git/tags{{/sha}}",
        "git_refs_url": f"{api}/git/refs{{/sha}}",
        "trees_url": f"{api}/git/trees{{/sha}}",
        "statuses_url": f"{api}/statuses/{{sha}}",
        "languages_url": f"{api}/languages",
        "stargazers_url": f"{api}/stargazers",
        "contributors_url": f"{api}/contributors",
        "subscribers_url": f"{api}/subscribers",
        "subscription_url": f"{api}/subscription",
        "commits_url": f"{api}/commits{{/sha}}",
        "git_commits_url": f"{api}/git/commits{{/sha}}",
        "comments_url": f"{api}/comments{{/number}}",
        "issue_comment_url": f"{api}/issues/comments{{/number}}",
        "contents_url": f"{api}/contents/{{+path}}",
        "compare_url": f"{api}/compare/{{base}}...{{head}}",
        "merges_url": f"{api}/merges",
        "archive_url": f"{api}/{{archive_format}}{{/ref}}",
        "downloads_url": f"{api}/downloads",
        "issues_url": f"{api}/issues{{/number}}",
        "pulls_url": f"{api}/pulls{{/number}}",
        "milestones_url": f"{api}/milestones{{/number}}",
        "notifications_url": f"{api}/notifications{{?since,all,participating}}",
        "labels_url": f"{api}/labels{{/name}}",
        "releases_url": f"{api}/releases{{/id}}",
        "deployments_url": f"{api}/deployments",
        "git_url": f"{world.url.replace('http://', 'git://')}/{row.full_name}.git",
        "ssh_url": f"git@localhost:{row.full_name}.git",
        "clone_url": f"{page}.git",
        "svn_url": page,
    }
