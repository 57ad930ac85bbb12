"""Check runs (made by Apps) and commit statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from infra.core.clock import Instant
from infra.local.forge import account, integration, pull
from infra.local.forge.account import Account, node_id, stamp
from infra.local.forge.repository import Repository
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.world import World

CONCLUSIONS = (
    "success",
    "failure",
    "neutral",
    "cancelled",
    "skipped",
    "timed_out",
    "action_required",
)
_GRAVITY = ("failure", "timed_out", "action_required", "cancelled", "success", "neutral", "skipped")
STATUSES = ("queued", "in_progress", "completed", "waiting", "requested", "pending")
STATES = ("error", "failure", "pending", "success")


class CheckRun(Row, frozen=True, kw_only=True):
    """``suite``: the id all runs of one App on one commit share. ``output`` and ``actions`` as they were given."""

    repository: int
    app: int
    suite: int
    sha: str
    name: str
    status: str
    conclusion: str | None
    external_id: str = ""
    details_url: str | None = None
    started_at: Instant
    completed_at: Instant | None = None
    output: dict[str, Any] = msgspec.field(default_factory=dict)
    actions: tuple[dict[str, str], ...] = ()


class CommitStatus(Row, frozen=True, kw_only=True):
    repository: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    creator: int
    created_at: Instant


def runs_on(world: World, repo: Repository, sha: str) -> list[CheckRun]:
    """Newest first."""
    return world.checks.of((repo.id, sha))[::-1]


def suite_for(world: World, repo: Repository, app_id: int, sha: str) -> int:
    known = next((run.suite for run in runs_on(world, repo, sha) if run.app == app_id), None)
    return known or world.new_id()


def tell(world: World, repo: Repository, actor: Account, row: CheckRun, action: str, **extra: Any) -> None:
    payload = {"action": action, "check_run": shape(world, repo, row), **extra}
    world.webhooks.emit("check_run", repo, actor, payload)


def tell_suite(world: World, repo: Repository, actor: Account, row: CheckRun) -> None:
    """The suite's own event once all of its runs are complete; the gravest conclusion is the suite's."""
    runs = {run.name: run for run in reversed(runs_on(world, repo, row.sha)) if run.suite == row.suite}.values()
    if any(run.status != "completed" for run in runs):
        return
    worst = min(runs, key=lambda run: _GRAVITY.index(run.conclusion or "success"))
    suite = {**shape(world, repo, worst)["check_suite"], "latest_check_runs_count": len(runs)}
    world.webhooks.emit("check_suite", repo, actor, {"action": "completed", "check_suite": suite})


def shape(world: World, repo: Repository, row: CheckRun) -> dict[str, Any]:
    url = world.api(f"/repos/{repo.full_name}/check-runs/{row.id}")
    app = world.apps.get(row.app)
    page = f"{world.url}/{repo.full_name}/runs/{row.id}"
    pulls = [
        pull.reference(world, repo, entry)
        for entry in pull.of(world, repo)
        if entry.head_sha == row.sha and pull.is_open(world, entry)
    ]
    shown_app = integration.shape_app(world, app) if app else None
    branch = pulls[0]["head"]["ref"] if pulls else None
    return {
        "id": row.id,
        "name": row.name,
        "node_id": node_id("CR", row.id),
        "head_sha": row.sha,
        "external_id": row.external_id,
        "url": url,
        "html_url": page,
        "details_url": row.details_url or page,
        "status": row.status,
        "conclusion": row.conclusion,
        "started_at": stamp(row.started_at),
        "completed_at": stamp(row.completed_at),
        "output": {
            "title": row.output.get("title"),
            "summary": row.output.get("summary"),
            "text": row.output.get("text"),
            "annotations_count": len(row.output.get("annotations", [])),
            "annotations_url": f"{url}/annotations",
        },
        "check_suite": {
            "id": row.suite,
            "node_id": node_id("CS", row.suite),
            "head_branch": branch,
            "head_sha": row.sha,
            "status": row.status,
            "conclusion": row.conclusion,
            "url": world.api(f"/repos/{repo.full_name}/check-suites/{row.suite}"),
            "before": None,
            "after": row.sha,
            "pull_requests": pulls,
            "app": shown_app,
            "created_at": stamp(row.started_at),
            "updated_at": stamp(row.completed_at or row.started_at),
        },
        "app": shown_app,
        "pull_requests": pulls,
    }


def shape_status(world: World, repo: Repository, row: CommitStatus) -> dict[str, Any]:
    creator = account.shape_id(world, row.creator)
    return {
        "url": world.api(f"/repos/{repo.full_name}/statuses/{row.sha}"),
        "avatar_url": creator["avatar_url"] if creator else None,
        "id": row.id,
        "node_id": node_id("SC", row.id),
        "state": row.state,
        "description": row.description,
        "target_url": row.target_url,
        "context": row.context,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.created_at),
        "creator": creator,
    }
