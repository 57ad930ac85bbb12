"""What the App asks about itself. https://docs.github.com/en/rest/apps/apps, …/rest/apps/webhooks"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from infra.core.errors import Invalid
from infra.github.calls import reader
from infra.github.protocol import Call
from infra.github.shapes import Aware, Shape


class AppDetails(Shape, frozen=True, kw_only=True):
    id: int
    slug: str
    name: str
    html_url: str
    permissions: dict[str, str]
    events: tuple[str, ...] = ()


class HookConfig(Shape, frozen=True, kw_only=True):
    """``secret`` is shown as asterisks, or is missing when there is none."""

    url: str = ""
    content_type: str = "form"
    insecure_ssl: str | float = "0"
    secret: str | None = None


class HookDelivery(Shape, frozen=True, kw_only=True):
    """``status_code`` 0: nobody answered."""

    event: str
    status: str
    status_code: int
    delivered_at: Aware


class NewApp(Shape, frozen=True, kw_only=True):
    """What a manifest becomes. The key and the secret are shown this once."""

    id: int
    slug: str
    html_url: str
    pem: str
    webhook_secret: str | None = None

    def __repr__(self) -> str:
        return f"NewApp(id={self.id}, slug={self.slug!r})"


def app_details() -> Call[AppDetails]:
    return Call(method="GET", path="/app", about="the GitHub App", read=reader(AppDetails))


def hook_config() -> Call[HookConfig]:
    return Call(method="GET", path="/app/hook/config", about="the App's webhook", read=reader(HookConfig))


def newest_deliveries(count: int) -> Call[tuple[HookDelivery, ...]]:
    return Call(
        method="GET",
        path="/app/hook/deliveries",
        params={"per_page": str(count)},
        about="the App's newest deliveries",
        read=reader(tuple[HookDelivery, ...]),
    )


def convert_manifest(code: str) -> Call[NewApp]:
    """Within an hour, and once. Takes no credentials: the code is the proof."""
    if not code.isalnum() or len(code) > 100:
        raise Invalid("That is not a code of GitHub's.", code="invalid_manifest_code")
    return Call(
        method="POST",
        path=f"/app-manifests/{quote(code, safe='')}/conversions",
        about="the new GitHub App",
        read=reader(NewApp),
        quiet=True,
    )


def age(moment: datetime, now: datetime) -> str:
    """How long ago, for people."""
    minutes = int((now - moment).total_seconds() // 60)
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
