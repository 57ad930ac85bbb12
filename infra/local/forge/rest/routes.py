"""Every REST endpoint of the forge with its access rule. What is not here answers 404, as GitHub does."""

from __future__ import annotations

from infra.local.forge.access import Need, reading, writing
from infra.local.forge.rest import (
    app,
    checks,
    comments,
    commits,
    git_data,
    graphql,
    issues,
    labels,
    meta,
    pulls,
    reactions,
    refs,
    repositories,
    reviews,
)
from infra.local.forge.rest.router import Rest, Route, Rule
from infra.local.forge.world import World

_REPO = "/repos/{owner}/{repo}"
_ISSUE = f"{_REPO}/issues/{{number:int}}"
_COMMENT = f"{_REPO}/issues/comments/{{comment:int}}"
_PULL = f"{_REPO}/pulls/{{number:int}}"
_REVIEW = f"{_PULL}/reviews/{{review:int}}"
_LINE_COMMENT = f"{_REPO}/pulls/comments/{{comment:int}}"

_METADATA = reading("metadata")
_READ_CODE, _WRITE_CODE = reading("contents"), writing("contents")
# An issue's routes serve pull requests, too: the handlers look which one it is and then insist on the right permission.
_READ_ISSUES = reading("issues", "pull_requests")
_WRITE_ISSUES = writing("issues", "pull_requests", role="read")
_READ_PULLS, _WRITE_PULLS = reading("pull_requests"), writing("pull_requests")
_REVIEW_PULLS = writing("pull_requests", role="read")
_MERGE = writing("contents")


def rest(world: World) -> Rest:
    table = Rest(world, _ROUTES)
    table.add(Route("GET", "/rate_limit", meta.rate_limit(table.limits), Rule.ANYONE))
    return table


def _reactions(below: str, read: Need, write: Need) -> tuple[Route, ...]:
    return (
        Route("GET", f"{below}/reactions", reactions.list_reactions, read),
        Route("POST", f"{below}/reactions", reactions.create_reaction, write),
        Route("DELETE", f"{below}/reactions/{{reaction:int}}", reactions.delete_reaction, write),
    )


_ROUTES = (
    Route("GET", "/", meta.get_root, Rule.ANYONE),
    Route("POST", graphql.PATH, graphql.answer, Rule.ANYONE),
    Route("GET", "/meta", meta.get_meta, Rule.ANYONE),
    Route("GET", "/user", repositories.get_me, Rule.PERSON),
    Route("GET", "/users/{login}", repositories.get_user, Rule.ANYONE),
    Route("GET", "/apps/{slug}", repositories.get_app_by_slug, Rule.ANYONE),
    # Apps
    Route("GET", "/app", app.get_app, Rule.APP),
    Route("POST", "/app-manifests/{code}/conversions", app.convert_manifest, Rule.ANYONE),
    Route("GET", "/app/installations", app.list_installations, Rule.APP),
    Route("GET", "/app/installations/{installation:int}", app.get_installation, Rule.APP),
    Route("POST", "/app/installations/{installation:int}/access_tokens", app.create_token, Rule.APP),
    Route("GET", "/app/hook/config", app.get_hook, Rule.APP),
    Route("PATCH", "/app/hook/config", app.change_hook, Rule.APP),
    Route("GET", "/app/hook/deliveries", app.list_deliveries, Rule.APP),
    Route("GET", "/app/hook/deliveries/{delivery:int}", app.get_delivery, Rule.APP),
    Route("POST", "/app/hook/deliveries/{delivery:int}/attempts", app.redeliver, Rule.APP),
    Route("GET", f"{_REPO}/installation", app.get_repository_installation, Rule.APP),
    Route("GET", "/installation/repositories", app.list_repositories, Rule.INSTALLATION),
    Route("DELETE", "/installation/token", app.revoke_token, Rule.INSTALLATION),
    # Repositories
    Route("GET", _REPO, repositories.get_repository, _METADATA),
    Route("GET", f"{_REPO}/collaborators/{{login}}/permission", repositories.get_collaborator_permission, _METADATA),
    Route("GET", f"{_REPO}/branches", refs.list_branches, _READ_CODE),
    Route("GET", f"{_REPO}/branches/{{branch:path}}", refs.get_branch, _READ_CODE),
    Route("GET", f"{_REPO}/git/ref/{{ref:path}}", refs.get_ref, _READ_CODE),
    Route("GET", f"{_REPO}/git/matching-refs/{{ref:path}}", refs.matching_refs, _READ_CODE),
    Route("POST", f"{_REPO}/git/refs", refs.create_ref, _WRITE_CODE),
    Route("PATCH", f"{_REPO}/git/refs/{{ref:path}}", refs.update_ref, _WRITE_CODE),
    Route("DELETE", f"{_REPO}/git/refs/{{ref:path}}", refs.delete_ref, _WRITE_CODE),
    Route("POST", f"{_REPO}/git/blobs", git_data.create_blob, _WRITE_CODE),
    Route("POST", f"{_REPO}/git/trees", git_data.create_tree, _WRITE_CODE),
    Route("POST", f"{_REPO}/git/commits", git_data.create_commit, _WRITE_CODE),
    Route("GET", f"{_REPO}/git/commits/{{sha}}", git_data.get_commit, _READ_CODE),
    Route("GET", f"{_REPO}/commits", commits.list_commits, _READ_CODE),
    Route("GET", f"{_REPO}/commits/{{ref:path}}/check-runs", checks.list_checks, reading("checks")),
    Route("GET", f"{_REPO}/commits/{{ref:path}}/status", checks.get_combined_status, reading("statuses")),
    Route("GET", f"{_REPO}/commits/{{ref:path}}/statuses", checks.list_statuses, reading("statuses")),
    Route("GET", f"{_REPO}/commits/{{ref:path}}", commits.get_commit, _READ_CODE),
    Route("GET", f"{_REPO}/compare/{{basehead:path}}", commits.compare, _READ_CODE),
    Route("GET", f"{_REPO}/contents", commits.get_contents, _READ_CODE),
    Route("GET", f"{_REPO}/contents/{{path:path}}", commits.get_contents, _READ_CODE),
    # Checks
    Route("POST", f"{_REPO}/check-runs", checks.create_check, writing("checks")),
    Route("GET", f"{_REPO}/check-runs/{{check:int}}", checks.get_check, reading("checks")),
    Route("PATCH", f"{_REPO}/check-runs/{{check:int}}", checks.change_check, writing("checks")),
    Route("POST", f"{_REPO}/check-runs/{{check:int}}/rerequest", checks.rerun, writing("checks")),
    Route("POST", f"{_REPO}/actions/jobs/{{check:int}}/rerun", checks.rerun, writing("actions")),
    Route("GET", f"{_REPO}/check-runs/{{check:int}}/annotations", checks.list_annotations, reading("checks")),
    Route("POST", f"{_REPO}/statuses/{{sha}}", checks.create_status, writing("statuses")),
    # Issues
    Route("GET", f"{_REPO}/issues", issues.list_issues, reading("issues")),
    Route("POST", f"{_REPO}/issues", issues.create_issue, writing("issues", role="read")),
    Route("GET", f"{_REPO}/issues/comments", comments.list_all_comments, _READ_ISSUES),
    Route("GET", _COMMENT, comments.get_comment, _READ_ISSUES),
    Route("PATCH", _COMMENT, comments.change_comment, _WRITE_ISSUES),
    Route("DELETE", _COMMENT, comments.delete_comment, _WRITE_ISSUES),
    Route("GET", _ISSUE, issues.get_issue, _READ_ISSUES),
    Route("PATCH", _ISSUE, issues.change_issue, _WRITE_ISSUES),
    Route("GET", f"{_ISSUE}/comments", comments.list_comments, _READ_ISSUES),
    Route("POST", f"{_ISSUE}/comments", comments.create_comment, _WRITE_ISSUES),
    Route("POST", f"{_ISSUE}/assignees", issues.add_assignees, _WRITE_ISSUES),
    Route("DELETE", f"{_ISSUE}/assignees", issues.remove_assignees, _WRITE_ISSUES),
    Route("GET", f"{_ISSUE}/labels", labels.list_issue_labels, _READ_ISSUES),
    Route("POST", f"{_ISSUE}/labels", labels.add_issue_labels, _WRITE_ISSUES),
    Route("PUT", f"{_ISSUE}/labels", labels.set_issue_labels, _WRITE_ISSUES),
    Route("DELETE", f"{_ISSUE}/labels", labels.clear_issue_labels, _WRITE_ISSUES),
    Route("DELETE", f"{_ISSUE}/labels/{{name:path}}", labels.remove_issue_label, _WRITE_ISSUES),
    Route("GET", f"{_REPO}/labels", labels.list_labels, _READ_ISSUES),
    Route("POST", f"{_REPO}/labels", labels.create_label, writing("issues", "pull_requests")),
    Route("GET", f"{_REPO}/labels/{{name:path}}", labels.get_label, _READ_ISSUES),
    *_reactions(_ISSUE, _READ_ISSUES, _WRITE_ISSUES),
    *_reactions(_COMMENT, _READ_ISSUES, _WRITE_ISSUES),
    # Pull requests
    Route("GET", f"{_REPO}/pulls", pulls.list_pulls, _READ_PULLS),
    Route("POST", f"{_REPO}/pulls", pulls.create_pull, _WRITE_PULLS),
    Route("GET", _PULL, pulls.get_pull, _READ_PULLS),
    Route("PATCH", _PULL, pulls.change_pull, _WRITE_PULLS),
    Route("GET", f"{_PULL}/files", pulls.list_files, _READ_PULLS),
    Route("GET", f"{_PULL}/commits", pulls.list_commits, _READ_PULLS),
    Route("GET", f"{_PULL}/merge", pulls.is_merged, _READ_PULLS),
    Route("PUT", f"{_PULL}/merge", pulls.merge_pull, _MERGE),
    Route("POST", f"{_PULL}/requested_reviewers", pulls.request_reviewers, _WRITE_PULLS),
    Route("GET", f"{_PULL}/reviews", reviews.list_reviews, _READ_PULLS),
    Route("POST", f"{_PULL}/reviews", reviews.create_review, _REVIEW_PULLS),
    Route("GET", _REVIEW, reviews.get_review, _READ_PULLS),
    Route("POST", f"{_REVIEW}/events", reviews.submit_review, _REVIEW_PULLS),
    Route("GET", f"{_REVIEW}/comments", reviews.list_review_comments, _READ_PULLS),
    Route("GET", f"{_PULL}/comments", reviews.list_comments, _READ_PULLS),
    Route("POST", f"{_PULL}/comments", reviews.create_comment, _REVIEW_PULLS),
    Route("POST", f"{_PULL}/comments/{{comment:int}}/replies", reviews.reply_to_comment, _REVIEW_PULLS),
    Route("GET", _LINE_COMMENT, reviews.get_comment, _READ_PULLS),
    Route("PATCH", _LINE_COMMENT, reviews.change_comment, _REVIEW_PULLS),
    Route("DELETE", _LINE_COMMENT, reviews.delete_comment, _REVIEW_PULLS),
    *_reactions(_LINE_COMMENT, _READ_PULLS, _REVIEW_PULLS),
)
