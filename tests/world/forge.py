"""A GitHub for tests: the local forge in this process, with an App, a repository and a person in it.

async with forge_world(tmp_path) as github:
    token = await github.installation_token()
    answer = await github.http.get("/repos/acme/shop", headers=bearer(token))
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.core.clock import SECOND, Instant
from infra.local.forge.forge import Forge
from infra.local.forge.integration import EVERYTHING, Installation
from infra.local.forge.repository import Repository
from infra.system_clock import system_clock

APP_ID = 4711
APP_SLUG = "pullwright"
WEBHOOK_SECRET = "a webhook secret for tests"
FILES: Mapping[str, bytes | str] = {
    "README.md": "# Shop\n\nA shop for tests.\n",
    "src/cart.py": "def total(prices):\n    return sum(prices)\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """PEM; ``key`` is the private key ready for use (reading its PEM takes longer than signing)."""

    private: str
    public: str
    key: rsa.RSAPrivateKey


@functools.cache
def key_pair(name: str = "app") -> KeyPair:
    """One RSA key a test process and name: making one takes a tenth of a second."""
    del name
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private=private.decode(), public=public.decode(), key=key)


class Clock:
    """The forge's clock: real time plus what a test adds; standing still once frozen."""

    def __init__(self) -> None:
        self.ahead = 0
        self._frozen: Instant | None = None

    def __call__(self) -> Instant:
        return Instant((self._frozen or system_clock()) + self.ahead)

    def freeze(self) -> None:
        self._frozen = system_clock()

    def forward(self, milliseconds: int) -> None:
        self.ahead += milliseconds


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def app_jwt(
    now: Instant, *, private_key: rsa.RSAPrivateKey | str | None = None, algorithm: str = "RS256", **claims: Any
) -> str:
    """An App's JWT as GitHub asks for it; ``claims`` replace or add."""
    seconds = now // SECOND
    usual = {"iat": seconds - 60, "exp": seconds + 540, "iss": str(APP_ID)}
    return jwt.encode({**usual, **claims}, private_key or key_pair().key, algorithm=algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeWorld:
    """``http`` speaks to the REST API without credentials; ``person`` is a token of ``alice``, who may write to ``repo``."""

    forge: Forge
    clock: Clock
    http: httpx.AsyncClient
    repo: Repository
    installation: Installation
    person: str

    @property
    def path(self) -> str:
        return f"/repos/{self.repo.full_name}"

    def jwt(self, **claims: Any) -> str:
        return app_jwt(self.clock(), **claims)

    async def installation_token(self, installation_id: int = 0, **narrowed: Any) -> str:
        answer = await self.http.post(
            f"/app/installations/{installation_id or self.installation.id}/access_tokens",
            headers=bearer(self.jwt()),
            json=narrowed,
        )
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["token"]
        return token

    def clone_url(self, token: str = "", repo: Repository | None = None) -> str:
        """With the token inside: fine in a test, nowhere else."""
        host = self.forge.url.removeprefix("http://")
        credentials = f"x-access-token:{token}@" if token else ""
        return f"http://{credentials}{host}/{(repo or self.repo).full_name}.git"


@asynccontextmanager
async def forge_world(
    data: Path, *, files: Mapping[str, bytes | str] | Path = FILES, permissions: Mapping[str, str] = EVERYTHING
) -> AsyncIterator[ForgeWorld]:
    """``acme/shop``, private; the App installed on it; ``alice`` with write access."""
    clock = Clock()
    async with Forge(data / "forge", clock=clock) as forge:
        forge.register_app(APP_ID, slug=APP_SLUG, public_key=key_pair().public, permissions=permissions)
        repo = await forge.create_repository("acme", "shop", files)
        installation = forge.install_app(APP_ID, "acme", [repo])
        repo = forge.set_permission("alice", repo, "write")
        person = forge.person_token("alice")
        async with httpx.AsyncClient(base_url=forge.api_url, trust_env=False, verify=False, timeout=30) as http:
            yield ForgeWorld(forge=forge, clock=clock, http=http, repo=repo, installation=installation, person=person)
