"""The GitHub App that an installation needs: exactly these permissions and events, no more. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PERMISSIONS: Mapping[str, str] = {
    "actions": "write",
    "checks": "write",
    "contents": "write",
    "issues": "write",
    "members": "read",
    "metadata": "read",
    "pull_requests": "write",
}
"""``actions`` and ``checks``: to read why a check failed and to start it again. ``members``: for triggers that name teams.
``workflows`` is left out on purpose: what changes CI is applied by a person."""

REQUIRED = frozenset({"contents", "issues", "metadata", "pull_requests"})
"""Without these nothing works; without the others less."""

EVENTS: tuple[str, ...] = (
    "check_run",
    "check_suite",
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
)

_RANKS = {"": 0, "read": 1, "write": 2, "admin": 3}


def manifest(*, name: str, url: str, webhook_url: str, redirect_url: str) -> dict[str, object]:
    """What creates the App with one click.
    https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest"""
    return {
        "name": name,
        "url": url,
        "hook_attributes": {"url": webhook_url, "active": True},
        "redirect_url": redirect_url,
        "public": False,
        "default_permissions": dict(PERMISSIONS),
        "default_events": list(EVENTS),
    }


def missing_permissions(granted: Mapping[str, str]) -> tuple[str, ...]:
    """``name: level`` of what is less than it should be."""
    return tuple(
        f"{name}: {level}"
        for name, level in PERMISSIONS.items()
        if _RANKS.get(granted.get(name, ""), 0) < _RANKS[level]
    )


def missing_events(subscribed: Sequence[str]) -> tuple[str, ...]:
    return tuple(event for event in EVENTS if event not in subscribed)
