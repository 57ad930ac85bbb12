"""Who is who in the Google stand-ins: access tokens, identity tokens with Google's shape, keys that rotate, and roles."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core import exceptions as google

ISSUER = "https://accounts.google.com"


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """The same few keys for all worlds of a test run: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Identities:
    """``current``: the number of the key that signs; all of ``published`` are in the key set."""

    def __init__(self) -> None:
        self.current = 0
        self.published = [0]
        self._tokens: dict[str, str] = {}

    def rotate(self) -> None:
        self.current += 1
        self.published.append(self.current)

    def access_token(self, email: str) -> str:
        token = f"ya29.{email.partition('@')[0]}.{len(self._tokens)}"
        self._tokens[token] = email
        return token

    def who(self, authorization: str) -> str:
        """The e-mail behind an ``Authorization`` header; empty for none."""
        return self._tokens.get(authorization.removeprefix("Bearer "), "")

    def claims(self, email: str, audience: str, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": "1" * 21,
            "sub": "1" * 21,
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def identity_token(self, email: str, audience: str, *, key: int | None = None, **changes: Any) -> str:
        number = self.current if key is None else key
        return jwt.encode(
            self.claims(email, audience, **changes),
            rsa_key(number),
            algorithm="RS256",
            headers={"kid": f"key-{number}"},
        )

    def jwks(self) -> dict[str, Any]:
        keys = []
        for number in self.published:
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(number).public_key()))
            keys.append({**public, "kid": f"key-{number}", "alg": "RS256", "use": "sig"})
        return {"keys": keys}


PERMISSIONS = {
    "roles/cloudtasks.enqueuer": {"cloudtasks.tasks.create"},
    "roles/cloudtasks.viewer": {"cloudtasks.queues.get"},
    "roles/iam.serviceAccountUser": {"iam.serviceAccounts.actAs"},
    "roles/run.invoker": {"run.routes.invoke", "run.jobs.run"},
    "roles/run.jobsExecutorWithOverrides": {"run.jobs.run", "run.jobs.runWithOverrides", "run.executions.cancel"},
    "roles/run.viewer": {"run.executions.get", "run.jobs.get", "run.services.get", "run.services.getIamPolicy"},
    "roles/secretmanager.secretAccessor": {"secretmanager.versions.access"},
    "roles/secretmanager.secretVersionAdder": {"secretmanager.versions.add"},
    "roles/secretmanager.secretVersionManager": {
        "secretmanager.versions.add",
        "secretmanager.versions.destroy",
        "secretmanager.versions.list",
    },
    "roles/secretmanager.viewer": {"secretmanager.versions.list", "secretmanager.secrets.get"},
    "roles/secretmanager.admin": {
        "secretmanager.secrets.create",
        "secretmanager.secrets.delete",
        "secretmanager.secrets.get",
        "secretmanager.versions.access",
        "secretmanager.versions.add",
        "secretmanager.versions.disable",
        "secretmanager.versions.list",
    },
    "roles/storage.objectUser": {
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.get",
        "storage.objects.list",
    },
}
OWNER = "owner@example.com"


class Roles:
    """Which identity has which role; the owner may do everything."""

    def __init__(self) -> None:
        self._granted: defaultdict[str, set[str]] = defaultdict(set)

    def grant(self, email: str, *roles: str) -> None:
        self._granted[email].update(roles)

    def revoke(self, email: str, *roles: str) -> None:
        self._granted[email].difference_update(roles)

    def has(self, email: str, permission: str) -> bool:
        return email == OWNER or any(permission in PERMISSIONS[role] for role in self._granted[email])

    def check(self, email: str, permission: str, resource: str) -> None:
        if not email:
            raise google.Unauthenticated("Request had invalid authentication credentials.")
        if not self.has(email, permission):
            raise google.PermissionDenied(
                f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
            )
