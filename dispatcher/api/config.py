"""``/config``: the GitHub App's credentials – looked at safely, stored, cleared. What the environment says comes first and is
not changed here."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from msgspec import Meta
from starlette.responses import Response

from dispatcher.call import KIB, Call, reply
from dispatcher.services import Services
from infra.core.errors import Conflict, Unavailable
from infra.core.store import Delete, Put
from infra.platform_secrets import APP_ID, APP_PRIVATE_KEY, WEBHOOK_SECRET
from infra.wire import Strict

STORED = (APP_ID, APP_PRIVATE_KEY, WEBHOOK_SECRET)
_INSTALLATION = "settings/github-installation"
_NO_STORE = {"cache-control": "no-store"}


class Credentials(Strict, frozen=True, kw_only=True, rename="camel"):
    """``privateKey``: the whole PEM file. ``installationId`` is only shown again: installations are asked of GitHub."""

    app_id: Annotated[str, Meta(min_length=1, max_length=70)] | Annotated[int, Meta(ge=1)]
    private_key: Annotated[str, Meta(min_length=1, max_length=20_000)]
    webhook_secret: Annotated[str, Meta(min_length=16, max_length=500)]
    installation_id: Annotated[int, Meta(ge=1)] | None = None


async def show(call: Call) -> Response:
    """``GET /config``: what is set, from where, and fingerprints; never a secret."""
    return reply(await _view(call.services), headers=_NO_STORE)


async def store(call: Call) -> Response:
    """``POST /config``: ``{"appId", "privateKey", "webhookSecret", "installationId"?}``, read before it is kept."""
    from infra.github.app_auth import AppCredentials, normalize_pem  # cryptography takes long to import

    services = call.services
    given = await call.decode(Credentials, 64 * KIB)
    _refuse_given(services)
    credentials = AppCredentials(str(given.app_id), given.private_key)
    values = {
        APP_ID: credentials.app_id.encode(),
        APP_PRIVATE_KEY: normalize_pem(given.private_key),
        WEBHOOK_SECRET: given.webhook_secret.encode(),
    }
    for name, value in values.items():
        await services.secrets.put(name, value)
        services.platform.forget(name)
    installation = (
        Delete(_INSTALLATION) if given.installation_id is None else Put(_INSTALLATION, {"id": given.installation_id})
    )
    await services.store.commit(installation)
    return reply(await _view(services), headers=_NO_STORE)


async def clear(call: Call) -> Response:
    """``DELETE /config``: forgets the stored credentials; runs that need them wait or fail with a sentence."""
    services = call.services
    _refuse_given(services)
    for name in STORED:
        await services.secrets.delete(name)
        services.platform.forget(name)
    await services.store.commit(Delete(_INSTALLATION))
    return reply(await _view(services), headers=_NO_STORE)


def _refuse_given(services: Services) -> None:
    named = [name.upper().replace("-", "_") for name in STORED if services.platform.given.get(name)]
    if named:
        raise Conflict(
            f"{', '.join(named)} is set in the environment, which comes before what is stored.",
            code="set_by_environment",
            hint="Take it out of the environment, restart, and send this again.",
        )


async def _view(services: Services) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, key in (
        (APP_ID, "appId"),
        (APP_PRIVATE_KEY, "privateKey"),
        (WEBHOOK_SECRET, "webhookSecret"),
    ):
        value = await _value(services, name)
        source = "none" if value is None else "environment" if services.platform.given.get(name) else "store"
        entry: dict[str, Any] = {"set": value is not None, "source": source}
        if value is not None and name == APP_ID:
            entry["value"] = value.decode()
        elif value is not None:
            entry["fingerprint"] = _fingerprint(name, value)
        shown[key] = entry
    installation = await services.store.get(_INSTALLATION)
    shown["installationId"] = installation.data["id"] if installation else None
    return {**shown, "complete": all(shown[key]["set"] for key in ("appId", "privateKey", "webhookSecret"))}


async def _value(services: Services, name: str) -> bytes | None:
    try:
        return await services.platform.one(name)
    except Unavailable as error:
        if error.code != "missing_setting":
            raise
        return None


def _fingerprint(name: str, value: bytes) -> str:
    """For the key what GitHub shows beside it: SHA-256 of the public half. For the secret the beginning of its hash.
    https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/managing-private-keys-for-github-apps"""
    if name != APP_PRIVATE_KEY:
        return f"sha256:{hashlib.sha256(value).hexdigest()[:12]}"
    import base64

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from infra.github.app_auth import parse_private_key

    public = parse_private_key(value.decode()).public_key()
    raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{base64.b64encode(hashlib.sha256(raw).digest()).decode()}"
