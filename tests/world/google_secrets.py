"""Secret Manager on Google's own message classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import google_crc32c
from google.api_core import exceptions as google
from google.cloud import secretmanager_v1 as sm
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import rest_base
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc_asyncio import (
    SecretManagerServiceGrpcAsyncIOTransport,
)
from google.protobuf import empty_pb2

from tests.world.google_api import Api
from tests.world.google_identity import Roles

State = sm.SecretVersion.State
PROJECT_NUMBER = "projects/123456789"


@dataclass
class Kept:
    secret: sm.Secret
    versions: list[sm.SecretVersion] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)


class SecretManager:
    """Names in answers carry the project's number, as Google's do."""

    def __init__(self, roles: Roles) -> None:
        self.kept: dict[str, Kept] = {}
        self._roles = roles
        self.api = Api(self, SecretManagerServiceGrpcAsyncIOTransport, rest_base)

    async def create_secret(self, request: sm.CreateSecretRequest, caller: str) -> sm.Secret:
        self._roles.check(caller, "secretmanager.secrets.create", request.parent)
        if request.secret_id in self.kept:
            raise google.AlreadyExists(f"Secret [{request.parent}/secrets/{request.secret_id}] already exists.")
        if "replication" not in request.secret:
            raise google.InvalidArgument("Field [secret.replication] must be set.")
        request.secret.name = f"{PROJECT_NUMBER}/secrets/{request.secret_id}"
        self.kept[request.secret_id] = Kept(request.secret)
        return request.secret

    async def get_secret(self, request: sm.GetSecretRequest, caller: str) -> sm.Secret:
        self._roles.check(caller, "secretmanager.secrets.get", request.name)
        return self._find(request.name).secret

    async def list_secrets(self, request: sm.ListSecretsRequest, caller: str) -> sm.ListSecretsResponse:
        return sm.ListSecretsResponse(secrets=[kept.secret for kept in self.kept.values()])

    async def delete_secret(self, request: sm.DeleteSecretRequest, caller: str) -> empty_pb2.Empty:
        self._roles.check(caller, "secretmanager.secrets.delete", request.name)
        self._find(request.name)
        del self.kept[request.name.split("/")[3]]
        return empty_pb2.Empty()

    async def add_secret_version(self, request: sm.AddSecretVersionRequest, caller: str) -> sm.SecretVersion:
        self._roles.check(caller, "secretmanager.versions.add", request.parent)
        kept, payload = self._find(request.parent), request.payload
        if not payload.data:
            raise google.InvalidArgument("Secret Payload cannot be empty.")
        if len(payload.data) > 65536:
            raise google.InvalidArgument("The maximum size of a payload is 64 KiB.")
        if payload.data_crc32c and payload.data_crc32c != google_crc32c.value(payload.data):
            raise google.InvalidArgument("The provided checksum does not match the payload.")
        version = sm.SecretVersion(
            name=f"{kept.secret.name}/versions/{len(kept.versions) + 1}",
            state=State.ENABLED,
            client_specified_payload_checksum=bool(payload.data_crc32c),
        )
        kept.versions.append(version)
        kept.values.append(payload.data)
        return version

    async def access_secret_version(
        self, request: sm.AccessSecretVersionRequest, caller: str
    ) -> sm.AccessSecretVersionResponse:
        self._roles.check(caller, "secretmanager.versions.access", request.name)
        kept, number = self._version(request.name)
        version = kept.versions[number - 1]
        if version.state != State.ENABLED:
            raise google.FailedPrecondition(f"Secret Version [{version.name}] is in {version.state.name} state.")
        value = kept.values[number - 1]
        payload = sm.SecretPayload(data=value, data_crc32c=google_crc32c.value(value))
        return sm.AccessSecretVersionResponse(name=version.name, payload=payload)

    async def list_secret_versions(
        self, request: sm.ListSecretVersionsRequest, caller: str
    ) -> sm.ListSecretVersionsResponse:
        self._roles.check(caller, "secretmanager.versions.list", request.parent)
        wanted = request.filter.removeprefix("NOT ").removeprefix("state:")
        but = request.filter.startswith("NOT ")
        kept = reversed(self._find(request.parent).versions)
        versions = [v for v in kept if not wanted or (v.state.name == wanted) is not but]
        start = int(request.page_token or 0)
        size = request.page_size or 100
        rest = str(start + size) if start + size < len(versions) else ""
        return sm.ListSecretVersionsResponse(versions=versions[start : start + size], next_page_token=rest)

    async def disable_secret_version(self, request: sm.DisableSecretVersionRequest, caller: str) -> sm.SecretVersion:
        self._roles.check(caller, "secretmanager.versions.disable", request.name)
        return self.mark(request.name, State.DISABLED)

    async def destroy_secret_version(self, request: sm.DestroySecretVersionRequest, caller: str) -> sm.SecretVersion:
        self._roles.check(caller, "secretmanager.versions.destroy", request.name)
        return self.mark(request.name, State.DESTROYED)

    # what tests do

    def mark(self, name: str, state: State) -> sm.SecretVersion:
        """``name``: the secret's path and /versions/NUMBER."""
        kept, number = self._version(name)
        kept.versions[number - 1].state = state
        return kept.versions[number - 1]

    def _find(self, path: str) -> Kept:
        name = path.split("/")[3]
        if name not in self.kept:
            raise google.NotFound(f"Secret [{path}] not found.")
        return self.kept[name]

    def _version(self, path: str) -> tuple[Kept, int]:
        kept, number = self._find(path), path.rpartition("/")[2]
        index = len(kept.versions) if number == "latest" else int(number)
        if not 1 <= index <= len(kept.versions):
            raise google.NotFound(f"Secret Version [{path}] not found or has no versions.")
        return kept, index
