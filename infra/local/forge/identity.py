"""Who is calling: nobody, a person, an App (JWT) or an App's installation (token)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from infra.core.clock import SECOND
from infra.local.forge import token as tokens
from infra.local.forge.account import Account
from infra.local.forge.integration import App
from infra.local.forge.problem import Refusal, not_found
from infra.local.forge.token import Token

if TYPE_CHECKING:
    from infra.local.forge.world import World

_MAX_LIFE = 600  # seconds; https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
_CLOCK_SLACK = 60  # seconds an ``iat`` may be ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """``app`` without ``token``: a JWT; both: an installation; ``token`` alone: a person; neither: anonymous."""

    account: Account | None = None
    app: App | None = None
    token: Token | None = None

    @property
    def anonymous(self) -> bool:
        return self.account is None

    @property
    def is_app(self) -> bool:
        return self.app is not None and self.token is None

    @property
    def is_installation(self) -> bool:
        return self.app is not None and self.token is not None


def identify(world: World, authorization: str) -> Identity:
    """Raises ``Refusal`` 401 for any credential that does not hold; no credential at all is anonymous."""
    scheme, _, rest = authorization.strip().partition(" ")
    if not scheme:
        return Identity()
    secret = _basic_password(rest) if scheme.lower() == "basic" else rest.strip()
    if scheme.lower() not in {"basic", "bearer", "token"} or not secret:
        raise Refusal(401, "Bad credentials")
    if secret.startswith("eyJ") and secret.count(".") == 2:
        return _by_jwt(world, secret)
    return _by_token(world, secret)


def _basic_password(encoded: str) -> str:
    """The user name of Basic credentials is free: git sends ``x-access-token``, ``git`` or a login."""
    try:
        _, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password


def _by_token(world: World, text: str) -> Identity:
    token = tokens.find(world, text)
    if token is None:
        raise Refusal(401, "Bad credentials")
    account = world.accounts.get(token.account)
    if token.installation is None:
        return Identity(account=account, token=token)
    installation = world.installations.get(token.installation)
    if installation is None or installation.suspended_at is not None:
        raise Refusal(401, "Bad credentials")
    return Identity(account=account, app=world.apps.get(installation.app), token=token)


def _by_jwt(world: World, text: str) -> Identity:
    undecodable = Refusal(401, "A JSON web token could not be decoded")
    try:
        issuer = str(jwt.decode(text, options={"verify_signature": False}).get("iss"))
    except jwt.PyJWTError:
        raise undecodable from None
    app = next((row for row in world.apps if issuer in {str(row.id), row.client_id}), None)
    if app is None:
        # GitHub answers 404 here: https://github.com/issc29/probot-prevent-public-repos/issues/4
        raise not_found("Integration not found")
    try:
        claims = jwt.decode(
            text,
            app.public_key,
            algorithms=["RS256"],
            # The forge's own clock decides about time, below.
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )
    except jwt.PyJWTError:
        raise undecodable from None
    _check_window(claims, world.now() / SECOND)
    return Identity(account=world.accounts.get(app.bot), app=app)


def _check_window(claims: dict[str, Any], now: float) -> None:
    """GitHub's own sentences: https://github.com/octokit/auth-app.js/issues/698, sigmavirus24/github3.py/issues/1050"""
    issued, expires = _number(claims.get("iat")), _number(claims.get("exp"))
    if issued is None or issued > now + _CLOCK_SLACK:
        raise Refusal(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        )
    if expires is None or expires <= now:
        raise Refusal(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        )
    if expires > now + _MAX_LIFE:
        raise Refusal(401, "'Expiration time' claim ('exp') is too far in the future")


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
