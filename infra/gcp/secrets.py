"""Secrets in Secret Manager.

Reading takes roles/secretmanager.secretAccessor on each secret and nothing else: versions are walked down from ``latest``
instead of listed. Writing takes roles/secretmanager.secretVersionManager; creating secrets is for who sets up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import google_crc32c
from google.api_core import exceptions as google
from google.cloud.secretmanager_v1 import (
    AccessSecretVersionResponse,
    AddSecretVersionRequest,
    ListSecretVersionsRequest,
    Replication,
    SecretManagerServiceAsyncClient,
    SecretPayload,
)
from google.cloud.secretmanager_v1 import (
    Secret as StoredSecret,
)

from infra.core.errors import NotFound, Unavailable
from infra.core.secrets import Secret, check_secret_name, check_secret_value
from infra.gcp.clients import TIMEOUT_SECONDS, careful, close, connect, patient
from infra.gcp.errors import Service, errors

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_HOST = "secretmanager.googleapis.com"
_LONGEST_GAP = 20
"""Disabled or destroyed versions in a row, after which older ones are no longer looked for."""


class SecretManagerSecrets:
    """The ``Secrets`` port."""

    def __init__(self, *, project: str, endpoint: str = _HOST, credentials: Credentials | None = None) -> None:
        self._project = project
        self._endpoint = endpoint
        self._credentials = credentials
        self._connected: SecretManagerServiceAsyncClient | None = None

    async def get(self, name: str) -> Secret | None:
        return next(iter(await self.versions(name, 1)), None)

    async def versions(self, name: str, limit: int = 2) -> tuple[Secret, ...]:
        check_secret_name(name)
        found: list[Secret] = []
        if limit > 0:
            async for secret in self._enabled(name):
                found.append(secret)
                if len(found) == limit:
                    break
        return tuple(found)

    async def put(self, name: str, value: bytes) -> int:
        check_secret_name(name)
        check_secret_value(value)
        payload = SecretPayload(data=value, data_crc32c=_checksum(value))
        with errors(_service("secretmanager.versions.add", name)):
            try:
                return await self._add(name, payload)
            except google.NotFound:
                await self._create(name)
                return await self._add(name, payload)

    async def delete(self, name: str) -> None:
        """Destroys the versions; the secret itself, with who may read it, belongs to the deployment and stays."""
        check_secret_name(name)
        try:
            numbers = await self._listed(name)
        except NotFound:
            return
        for number in numbers:
            path = f"{self._path(name)}/versions/{number}"
            with errors(_service("secretmanager.versions.destroy", name)):
                await self._client.destroy_secret_version(name=path, retry=patient(), timeout=TIMEOUT_SECONDS)

    async def close(self) -> None:
        await close(self._connected)

    @property
    def _client(self) -> SecretManagerServiceAsyncClient:
        if self._connected is None:
            self._connected = connect(SecretManagerServiceAsyncClient, self._endpoint, self._credentials)
        return self._connected

    async def _enabled(self, name: str) -> AsyncIterator[Secret]:
        """The enabled versions, newest first."""
        number = await self._newest(name)
        gap = 0
        while number > 0 and gap <= _LONGEST_GAP:
            secret = await self._access(name, number)
            if secret is None:
                gap += 1
            else:
                gap = 0
                yield secret
            number -= 1

    async def _newest(self, name: str) -> int:
        """The number of the newest version that may be enabled; 0 when there is none."""
        with errors(_service("secretmanager.versions.access", name)):
            try:
                response = await self._ask(name, "latest")
            except google.NotFound:
                return 0
            except google.BadRequest:  # the newest is disabled or destroyed, and its number is not told
                return max(await self._listed(name), default=0)
        return _number(response.name)

    async def _listed(self, name: str) -> tuple[int, ...]:
        """Numbers of all versions that are not destroyed. Raises ``NotFound`` when there is no such secret."""
        # every state but destroyed: a disabled version could be enabled again
        request = ListSecretVersionsRequest(parent=self._path(name), filter="NOT state:DESTROYED", page_size=100)
        with errors(_service("secretmanager.versions.list", name)):
            try:
                pages = await self._client.list_secret_versions(request, retry=patient(), timeout=TIMEOUT_SECONDS)
                return tuple([_number(version.name) async for version in pages])
            except google.NotFound as error:
                raise NotFound(f"There is no secret {name}.", code="unknown_secret") from error

    async def _access(self, name: str, number: int) -> Secret | None:
        """None for a version that is disabled, destroyed or was never there."""
        with errors(_service("secretmanager.versions.access", name)):
            try:
                response = await self._ask(name, str(number))
            except (google.NotFound, google.BadRequest):
                return None
        if response.payload.data_crc32c != _checksum(response.payload.data):
            raise Unavailable(
                f"The secret {name} arrived damaged.", code="secret_damaged", hint="It is safe to ask again."
            )
        return Secret(name=name, version=number, value=response.payload.data)

    async def _ask(self, name: str, version: str) -> AccessSecretVersionResponse:
        path = f"{self._path(name)}/versions/{version}"
        return await self._client.access_secret_version(name=path, retry=patient(), timeout=TIMEOUT_SECONDS)

    async def _add(self, name: str, payload: SecretPayload) -> int:
        # not repeated when the answer is lost: each addition is one more version
        request = AddSecretVersionRequest(parent=self._path(name), payload=payload)
        added = await self._client.add_secret_version(request, retry=careful(), timeout=TIMEOUT_SECONDS)
        return _number(added.name)

    async def _create(self, name: str) -> None:
        kept = StoredSecret(replication=Replication(automatic=Replication.Automatic()))
        parent = f"projects/{self._project}"
        with errors(_service("secretmanager.secrets.create", name)):
            try:
                await self._client.create_secret(
                    parent=parent, secret_id=name, secret=kept, retry=patient(), timeout=TIMEOUT_SECONDS
                )
            except google.Conflict:  # somebody else was faster
                return

    def _path(self, name: str) -> str:
        return f"projects/{self._project}/secrets/{name}"


def _service(permission: str, name: str) -> Service:
    return Service("Secret Manager", _HOST, permission, f"the secret {name}")


def _number(path: str) -> int:
    return int(path.rpartition("/")[2])


def _checksum(data: bytes) -> int:
    return int(google_crc32c.value(data))
