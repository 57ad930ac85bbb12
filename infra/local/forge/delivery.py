"""One webhook delivery: what was sent, and what came back."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import msgspec

from infra.core.clock import Instant
from infra.local.forge.account import stamp
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.integration import App

USER_AGENT = "GitHub-Hookshot/local"


class Delivery(Row, frozen=True, kw_only=True):
    """``guid`` stays the same when it is sent again. ``delivered_at``: None while it waits for its turn.

    ``status_code`` 0: no answer; ``status`` then says why. ``duration`` in seconds.
    """

    app: int
    guid: str
    event: str
    action: str | None
    repository: int | None
    installation: int | None
    url: str
    body: bytes
    redelivery: bool = False
    queued_at: Instant
    delivered_at: Instant | None = None
    duration: float = 0.0
    status: str = ""
    status_code: int = 0
    response_headers: dict[str, str] = msgspec.field(default_factory=dict)
    response_body: str = ""


def headers(app: App, row: Delivery) -> dict[str, str]:
    """https://docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers"""
    named = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-GitHub-Delivery": row.guid,
        "X-GitHub-Event": row.event,
        "X-GitHub-Hook-ID": str(app.hook.id),
        "X-GitHub-Hook-Installation-Target-ID": str(app.id),
        "X-GitHub-Hook-Installation-Target-Type": "integration",
    }
    if app.hook.secret:
        signed = hmac.new(app.hook.secret.encode(), row.body, hashlib.sha256).hexdigest()
        named["X-Hub-Signature-256"] = f"sha256={signed}"
    return named


def shape(row: Delivery) -> dict[str, Any]:
    """The form in lists."""
    return {
        "id": row.id,
        "guid": row.guid,
        "delivered_at": stamp(row.delivered_at),
        "redelivery": row.redelivery,
        "duration": round(row.duration, 3),
        "status": row.status,
        "status_code": row.status_code,
        "event": row.event,
        "action": row.action,
        "installation_id": row.installation,
        "repository_id": row.repository,
        "throttled_at": None,
    }


def shape_full(app: App, row: Delivery) -> dict[str, Any]:
    return {
        **shape(row),
        "url": row.url,
        "request": {"headers": headers(app, row), "payload": msgspec.json.decode(row.body)},
        "response": {"headers": row.response_headers, "payload": row.response_body},
    }
