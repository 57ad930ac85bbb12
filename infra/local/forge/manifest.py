"""Apps that are made from a manifest: the form another page posts, and the code that is exchanged for the new App's secrets.
https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from infra.core.ids import new_token
from infra.local.forge import integration, webhooks
from infra.local.forge.git.cgi import Receive, Scope, Send

if TYPE_CHECKING:
    from infra.local.forge.world import World

FORM = "/settings/apps/new"
_MAX_FORM = 64 * 1024


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    active: bool = True


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    url: str
    redirect_url: str
    hook_attributes: Hook | None = None
    default_permissions: dict[str, str] = {}
    default_events: tuple[str, ...] = ()


class Manifests:
    """An ASGI application for ``POST /settings/apps/new``. There is nobody to press the button: the App is made at once."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._post(request) if request.method == "POST" else PlainTextResponse("Post a manifest.", 405)
        await response(scope, receive, send)

    async def _post(self, request: Request) -> Response:
        raw = await request.body()
        try:
            form = parse_qs(raw[:_MAX_FORM].decode())
            wanted = msgspec.json.decode(form["manifest"][0], type=Manifest)
        except (KeyError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            return PlainTextResponse(f"The manifest does not fit: {error}", 422)
        if urlsplit(wanted.redirect_url).hostname not in {"127.0.0.1", "localhost"}:
            return PlainTextResponse("The local forge leads back to this machine only.", 422)
        query = urlencode({"code": make(self._world, wanted), "state": request.query_params.get("state", "")})
        return RedirectResponse(f"{wanted.redirect_url}?{query}", status_code=302)


def make(world: World, wanted: Manifest) -> str:
    """Registers the App; returns the code for its secrets, which works once."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    app = integration.register(
        world,
        app_id=world.new_id(),
        slug="-".join(wanted.name.lower().split()),
        name=wanted.name,
        public_key=public.decode(),
        permissions=wanted.default_permissions,
        events=wanted.default_events,
    )
    secret = new_token(world.entropy, 40)
    if wanted.hook_attributes is not None:
        app = webhooks.point(world, app, url=wanted.hook_attributes.url, secret=secret)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    code = new_token(world.entropy, 40)
    shape = integration.shape_app(world, app)
    world.manifests[code] = {**shape, "pem": pem.decode(), "webhook_secret": secret, "client_secret": "unused"}
    return code


def taken(world: World, code: str) -> dict[str, Any] | None:
    return world.manifests.pop(code, None)
