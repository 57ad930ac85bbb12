"""A GitHub App in one click: a page on this machine posts a manifest to GitHub, GitHub comes back with a code, and the code is
exchanged for the App's id, key and webhook secret, which go straight into the secret store.
https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest"""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from infra.core.errors import PullwrightError
from infra.core.github_app import manifest
from infra.core.ids import Entropy, new_token
from infra.core.secrets import Secrets
from infra.github.app_calls import NewApp, convert_manifest
from infra.github.client import http_client
from infra.github.transport import Transport
from infra.platform_secrets import APP_ID, APP_PRIVATE_KEY, WEBHOOK_SECRET


@dataclass(slots=True, kw_only=True)
class AppSetup:
    """``organization`` empty: the App belongs to the person who clicks. ``own_url``: where ``site`` is reached, set once it is."""

    api_url: str
    github_url: str
    organization: str
    name: str
    webhook_url: str
    secrets: Secrets
    entropy: Entropy
    own_url: str = ""
    done: asyncio.Future[NewApp] = field(init=False)
    _state: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._state = new_token(self.entropy)

    def site(self) -> Starlette:
        return Starlette(routes=[Route("/", self._start), Route("/created", self._created)])

    async def _start(self, _: Request) -> Response:
        owner = f"organizations/{quote(self.organization, safe='')}/" if self.organization else ""
        target = f"{self.github_url.rstrip('/')}/{owner}settings/apps/new?{urlencode({'state': self._state})}"
        content = json.dumps(
            manifest(
                name=self.name,
                url=self.webhook_url.rsplit("/webhook/", 1)[0],
                webhook_url=self.webhook_url,
                redirect_url=f"{self.own_url}/created",
            )
        )
        return _page(
            f"<form action='{escape(target)}' method='post'>"
            f"<input type='hidden' name='manifest' value='{escape(content)}'>"
            f"<p>The App <b>{escape(self.name)}</b> will hear of {escape(self.webhook_url)}.</p>"
            "<button>Create it on GitHub</button></form>"
        )

    async def _created(self, request: Request) -> Response:
        """Only the browser that came from our own page knows the state."""
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        if not hmac.compare_digest(state.encode(), self._state.encode()) or self.done.done():
            return _page("<p>This link belongs to another set-up. Start again from the terminal.</p>", 403)
        try:
            made = await self._exchanged(code)
        except PullwrightError as error:
            return _page(f"<p>{escape(error.message)} {escape(error.hint)}</p>", 502)
        self.done.set_result(made)
        return _page(f"<p>Stored. Now <a href='{escape(made.html_url)}/installations/new'>install the App</a>.</p>")

    async def _exchanged(self, code: str) -> NewApp:
        async with http_client(tls=self.api_url.startswith("https:")) as http:
            transport = Transport(api_url=self.api_url, http=http)
            made = await transport.send(convert_manifest(code), "", transport.pace())
        await self.secrets.put(APP_ID, str(made.id).encode())
        await self.secrets.put(APP_PRIVATE_KEY, made.pem.encode())
        if made.webhook_secret:
            await self.secrets.put(WEBHOOK_SECRET, made.webhook_secret.encode())
        return made


def _page(content: str, status: int = 200) -> Response:
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
    return HTMLResponse(f"<!doctype html><title>Pullwright</title>{content}", status_code=status, headers=headers)
