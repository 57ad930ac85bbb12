"""Webhook bodies by hand: as GitHub documents them, with what is used of each event and a little of what is not.

Each function gives one event's body for ``acme/shop``; ``changes`` replace top-level keys.
"""

import copy

SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
OTHER_SHA = "a10867b14bb761a232cd80139fbd4c0d33264240"
NOW = "2026-11-20T10:00:00Z"
HOST = "https://github.com"


def account(login="alice", kind="User", number=7):
    return {"id": number, "login": login, "type": kind, "site_admin": False}


def repository(full_name="acme/shop", number=42):
    owner, _, name = full_name.partition("/")
    return {
        "id": number,
        "name": name,
        "full_name": full_name,
        "private": True,
        "default_branch": "main",
        "owner": account(owner, "Organization", 5),
    }


def delivered(sender="alice", installation=9, **parts):
    """What every delivery of an App about a repository has; ``sender`` a login or an account."""
    return {
        "repository": repository(),
        "installation": {"id": installation, "node_id": "MDIz"},
        "sender": sender if isinstance(sender, dict) else account(sender),
        **parts,
    }


def labels(*names):
    return [{"id": 1, "name": name, "color": "ededed"} for name in names]


def issue(number=3, *, pull=False, by="alice", names=(), **changes):
    kind = "pull" if pull else "issues"
    found = {
        "id": 1000 + number,
        "number": number,
        "title": "Totals are wrong",
        "body": "They are off by one.",
        "html_url": f"{HOST}/acme/shop/{kind}/{number}",
        "state": "open",
        "labels": labels(*names),
        "user": account(by),
        "author_association": "OWNER",
        "updated_at": NOW,
        "performed_via_github_app": None,
    }
    if pull:
        found |= {"pull_request": {"url": f"https://api.github.com/repos/acme/shop/pulls/{number}"}, "draft": False}
    return found | changes


def pull(number=8, *, head="feature", sha=SHA, base="main", fork=None, by="alice", names=(), **changes):
    """``fork``: full name of the repository that the head is in."""
    source = repository(fork, 77) if fork else repository()
    return {
        "id": 2000 + number,
        "number": number,
        "title": "Round the totals",
        "body": "They were off by one.",
        "html_url": f"{HOST}/acme/shop/pull/{number}",
        "state": "open",
        "draft": False,
        "merged": False,
        "labels": labels(*names),
        "user": account(by),
        "updated_at": NOW,
        "head": {"label": f"{source['owner']['login']}:{head}", "ref": head, "sha": sha, "repo": source},
        "base": {"label": f"acme:{base}", "ref": base, "sha": OTHER_SHA, "repo": repository()},
    } | changes


def comment(body="@claude fix it", *, by="alice", number=501, **changes):
    return {
        "id": number,
        "html_url": f"{HOST}/acme/shop/issues/3#issuecomment-{number}",
        "created_at": NOW,
        "updated_at": NOW,
        "user": by if isinstance(by, dict) else account(by),
        "body": body,
        "author_association": "OWNER",
        "performed_via_github_app": None,
    } | changes


def line_comment(body="@claude rename this", **changes):
    return (
        comment(body, number=601)
        | {
            "html_url": f"{HOST}/acme/shop/pull/8#discussion_r601",
            "path": "src/cart.py",
            "diff_hunk": "@@ -1,2 +1,2 @@\n def total(prices):\n-    return sum(prices)\n+    return round(sum(prices), 2)",
            "commit_id": SHA,
            "line": 2,
            "start_line": None,
            "original_line": 2,
            "side": "RIGHT",
            "pull_request_review_id": 701,
        }
        | changes
    )


def review(state="changes_requested", body="Please add a test.", **changes):
    return {
        "id": 701,
        "html_url": f"{HOST}/acme/shop/pull/8#pullrequestreview-701",
        "state": state,
        "user": account(),
        "commit_id": SHA,
        "submitted_at": NOW,
        "body": body,
    } | changes


def check_run(name="tests", conclusion="failure", *, branch="feature", pulls=(8,), **changes):
    return {
        "id": 801,
        "name": name,
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "head_sha": SHA,
        "html_url": f"{HOST}/acme/shop/runs/801",
        "details_url": "https://ci.example.org/1",
        "app": {"id": 15368, "slug": "github-actions"},
        "check_suite": {"id": 802, "head_branch": branch, "head_sha": SHA},
        "pull_requests": [{"number": number, "id": 1, "url": "x"} for number in pulls],
    } | changes


def workflow_run(name="CI", conclusion="failure", *, branch="feature", pulls=(8,), **changes):
    return {
        "id": 901,
        "name": name,
        "status": "completed",
        "conclusion": conclusion,
        "head_sha": SHA,
        "head_branch": branch,
        "head_repository": repository(),
        "html_url": f"{HOST}/acme/shop/actions/runs/901",
        "event": "pull_request",
        "pull_requests": [{"number": number, "id": 1, "url": "x"} for number in pulls],
    } | changes


def push(ref="refs/heads/main", *, files=("src/cart.py",), **changes):
    return (
        delivered()
        | {
            "ref": ref,
            "before": OTHER_SHA,
            "after": SHA,
            "created": False,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "compare": f"{HOST}/acme/shop/compare/a...b",
            "commits": [{"id": SHA, "message": "Round", "added": [], "modified": list(files), "removed": []}],
            "head_commit": None,
            "pusher": {"name": "alice"},
        }
        | changes
    )


def installation(action="created", **changes):
    return {
        "action": action,
        "installation": {"id": 9, "app_id": 4711, "account": account("acme", "Organization", 5)},
        "sender": account(),
        "repositories": [{"id": 42, "full_name": "acme/shop", "private": True}],
    } | changes


def installation_repositories(action="added", **changes):
    named = [{"id": 42, "full_name": "acme/shop", "private": True}]
    return {
        "action": action,
        "installation": {"id": 9, "app_id": 4711, "account": account("acme", "Organization", 5)},
        "sender": account(),
        "repository_selection": "selected",
        "repositories_added": named if action == "added" else [],
        "repositories_removed": [] if action == "added" else named,
    } | changes


def examples():
    """Event name → a body of it, for every event that is understood."""
    issues, pulls = issue(names=("claude",)), pull()
    return copy.deepcopy(
        {
            "ping": {"zen": "Keep it small.", "hook_id": 1, "hook": {"type": "App", "id": 1, "active": True}},
            "issues": delivered(action="labeled", issue=issues, label=labels("claude")[0]),
            "issue_comment": delivered(action="created", issue=issue(), comment=comment()),
            "pull_request": delivered(action="opened", number=8, pull_request=pulls),
            "pull_request_review": delivered(action="submitted", pull_request=pulls, review=review()),
            "pull_request_review_comment": delivered(action="created", pull_request=pulls, comment=line_comment()),
            "check_run": delivered(action="completed", check_run=check_run()),
            "check_suite": delivered(
                action="completed",
                check_suite={
                    "id": 802,
                    "status": "completed",
                    "conclusion": "failure",
                    "head_sha": SHA,
                    "head_branch": "feature",
                    "app": {"id": 15368, "slug": "github-actions"},
                    "pull_requests": [],
                },
            ),
            "workflow_run": delivered(action="completed", workflow_run=workflow_run(), workflow={"id": 1}),
            "push": push(),
            "repository": delivered(action="renamed", changes={"repository": {"name": {"from": "store"}}}),
            "installation": installation(),
            "installation_repositories": installation_repositories(),
        }
    )
