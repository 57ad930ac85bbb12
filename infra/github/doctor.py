"""``pullwright doctor``: looks at the GitHub App as it is and says what to click."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar

import httpx

from infra.core.clock import Clock
from infra.core.diagnosis import Finding, fine, unknown, wrong
from infra.core.errors import PullwrightError
from infra.core.github_app import REQUIRED, missing_events, missing_permissions
from infra.github import app_calls, calls
from infra.github.app_auth import AppCredentials, app_jwt
from infra.github.app_calls import AppDetails
from infra.github.client import http_client
from infra.github.protocol import Call
from infra.github.transport import Transport

T = TypeVar("T")

MAX_CLOCK_SECONDS = 30
LOOKED_AT = 30
"""Deliveries."""


class Ask(Protocol):
    """Sends a call as the App."""

    async def __call__(self, call: Call[T], /) -> T: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """``webhook_url``: where this installation expects its webhooks."""

    api_url: str
    credentials: AppCredentials
    webhook_url: str
    clock: Clock

    async def findings(self) -> list[Finding]:
        """Everything, in the order in which it should be put right."""
        async with http_client(tls=self.api_url.startswith("https:")) as http:
            transport = Transport(api_url=self.api_url, http=http)
            pace = transport.pace()

            async def ask(call: Call[T], /) -> T:
                return await transport.send(call, app_jwt(self.credentials, self.clock()), pace)

            found = [await self._clock(http)]
            try:
                app = await ask(app_calls.app_details())
            except PullwrightError as error:
                return [*found, wrong("App", f"{error.message} {error.hint}".strip())]
            found.append(fine("App", f"{app.name} ({app.html_url}) accepts the key."))
            found += [_permissions(app), _events(app)]
            found.append(await _safely("webhook", lambda: self._webhook(ask, app)))
            found.append(await _safely("deliveries", lambda: self._deliveries(ask, app)))
            found.append(await _safely("installations", lambda: _installations(ask, app)))
            return found

    async def _clock(self, http: httpx.AsyncClient) -> Finding:
        """By the date of any answer; the App's proof is refused by a clock that is minutes off."""
        try:
            answer = await http.get(f"{self.api_url.rstrip('/')}/rate_limit")
            theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (httpx.HTTPError, ValueError) as error:
            return wrong(
                "clock", f"GitHub cannot be asked for the time ({type(error).__name__}).", f"curl {self.api_url}"
            )
        off = round(self.clock() / 1000 - theirs)
        if abs(off) > MAX_CLOCK_SECONDS:
            return wrong("clock", f"This machine's clock is {off:+d} s off GitHub's.", "timedatectl set-ntp true")
        return fine("clock", "This machine and GitHub agree on the time.")

    async def _webhook(self, ask: Ask, app: AppDetails) -> Finding:
        hook, page = await ask(app_calls.hook_config()), f"{_settings(app)}"
        if hook.url != self.webhook_url:
            return wrong(
                "webhook",
                f"Webhooks go to {hook.url or 'nowhere'}, and this installation hears {self.webhook_url}.",
                f"Open {page} → General → Webhook URL, and enter {self.webhook_url}",
            )
        if not hook.secret:
            return wrong("webhook", "The webhook has no secret.", f"Open {page} → General → Webhook secret")
        if hook.content_type != "json":
            return wrong("webhook", "Webhooks are sent as forms.", f"Open {page} → General → Content type: JSON")
        if str(hook.insecure_ssl) not in {"0", "0.0"}:
            return wrong("webhook", "Certificates are not checked.", f"Open {page} → General → Enable SSL verification")
        return fine("webhook", f"Webhooks go to {hook.url}, signed.")

    async def _deliveries(self, ask: Ask, app: AppDetails) -> Finding:
        newest = await ask(app_calls.newest_deliveries(LOOKED_AT))
        if not newest:
            return unknown(
                "deliveries",
                "GitHub has not sent anything yet.",
                f"Open {_settings(app)}/advanced to send a ping again",
            )
        failed = [one for one in newest if not 200 <= one.status_code < 300]
        if failed:
            last = failed[0]
            ago = app_calls.age(last.delivered_at, datetime.now(UTC))
            return wrong(
                "deliveries",
                f"{len(failed)} of the newest {len(newest)} failed; the last, {last.event}, {ago}: {last.status_code or last.status}.",
                f"Open {_settings(app)}/advanced to read the answers and to redeliver",
            )
        return fine("deliveries", f"The newest {len(newest)} all arrived.")


async def _safely(topic: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await look()
    except PullwrightError as error:
        return unknown(topic, f"{error.message} {error.hint}".strip())


def _permissions(app: AppDetails) -> Finding:
    missing = missing_permissions(app.permissions)
    if not missing:
        return fine("permissions", "The App asks for what it needs.")
    click = (
        f"Open {_settings(app)}/permissions → {', '.join(missing)} → Save, then accept the change in each installation"
    )
    if any(one.partition(":")[0] in REQUIRED for one in missing):
        return wrong("permissions", f"The App lacks {', '.join(missing)}.", click)
    return unknown("permissions", f"Without {', '.join(missing)} less is done.", click)


def _events(app: AppDetails) -> Finding:
    missing = missing_events(app.events)
    if missing:
        return wrong(
            "events",
            f"The App does not hear of {', '.join(missing)}.",
            f"Open {_settings(app)}/permissions → Subscribe to events → {', '.join(missing)}",
        )
    return fine("events", "The App hears of everything that starts or steers a run.")


async def _installations(ask: Ask, app: AppDetails) -> Finding:
    installed = await ask(calls.installations())
    if not installed:
        return wrong("installations", "The App is installed nowhere.", f"Open {app.html_url} → Install")
    behind = [one.account for one in installed if missing_permissions(one.permissions)]
    suspended = [one.account for one in installed if one.suspended]
    if suspended:
        return wrong(
            "installations",
            f"Suspended on {', '.join(suspended)}.",
            "Unsuspend it in the account's settings → GitHub Apps",
        )
    if behind:
        return wrong(
            "installations",
            f"{', '.join(behind)} did not accept the App's present permissions.",
            "An owner opens the account's settings → GitHub Apps → Configure → Review request",
        )
    return fine("installations", f"Installed on {', '.join(one.account for one in installed)}.")


def _settings(app: AppDetails) -> str:
    """Of an App that belongs to a person; an organization's is at the same place below its own settings."""
    host = app.html_url.split("/apps/", 1)[0].split("/github-apps/", 1)[0]
    return f"{host}/settings/apps/{app.slug}"
