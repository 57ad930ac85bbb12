"""Google Cloud on this machine: Cloud Tasks, Secret Manager, Cloud Run, Cloud Storage and the metadata server.

Google's own clients speak to it as they do to Google: gRPC over TLS with access tokens from the metadata server, JSON over
HTTP; only the endpoints differ. Firestore is Google's emulator. gcloud finds the REST half at ``http_url``.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from google.cloud import tasks_v2
from google.oauth2.credentials import Credentials
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from infra.local.forge.server import Server
from infra.local.processes import free_port
from tests.world.google_api import Api, Grpc, rest
from tests.world.google_identity import OWNER, Identities, Roles, rsa_key
from tests.world.google_run import CloudRun
from tests.world.google_secrets import SecretManager
from tests.world.google_storage import Storage
from tests.world.google_tasks import CloudTasks

PROJECT = "demo-project"
REGION = "us-central1"
BUCKET = "demo-artifacts"
DISPATCHER = f"dispatcher@{PROJECT}.iam.gserviceaccount.com"
INVOKER = f"invoker@{PROJECT}.iam.gserviceaccount.com"
RUNNER = f"runner@{PROJECT}.iam.gserviceaccount.com"
QUEUES = f"projects/{PROJECT}/locations/{REGION}/queues"
JOBS = f"projects/{PROJECT}/locations/{REGION}/jobs"

DISPATCHER_ROLES = (
    "roles/cloudtasks.enqueuer",
    "roles/iam.serviceAccountUser",
    "roles/run.jobsExecutorWithOverrides",
    "roles/run.viewer",
    "roles/secretmanager.secretAccessor",
    "roles/storage.objectUser",
)
"""What the deployment grants the dispatcher; the runner gets none."""


@cache
def certificate() -> Path:
    """A certificate for this machine, trusted by this process and, through the environment, by its children. gRPC reads
    its roots once per process, so there is one for the whole test run."""
    key = rsa_key(99)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Google stand-ins")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = Path(tempfile.mkdtemp(prefix="google-stand-ins-")) / "certificate.pem"
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(path)
    return path


class GoogleCloud:
    """``account``: whom the metadata server speaks for, which is the program that asks it. ``resources``: what other APIs
    answer, by path; a number instead of JSON is a status."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.roles = Roles()
        self.tasks = CloudTasks(self.identities, self.roles)
        self.secrets = SecretManager(self.roles)
        self.run = CloudRun(self.roles)
        self.storage = Storage(self.identities, self.roles)
        self.storage.buckets[BUCKET] = {}
        self.account = DISPATCHER
        self.metadata_down = False
        self.key_requests = 0
        self.token_requests = 0
        self.resources: dict[str, Any] = {}
        self.grpc_endpoint = ""
        self.http_url = ""
        for api in self.apis:
            api.who = self.identities.who
        self.roles.grant(DISPATCHER, *DISPATCHER_ROLES)

    @property
    def apis(self) -> list[Api]:
        return [self.tasks.api, self.secrets.api, *self.run.apis]

    @property
    def http_host(self) -> str:
        return self.http_url.removeprefix("http://")

    def credentials(self, email: str = DISPATCHER) -> Credentials:
        """For clients in this process, which shares its environment with other tests."""
        return Credentials(self.identities.access_token(email))

    def endpoints(self) -> Mapping[str, str]:
        """The settings that make the programs speak to this cloud instead of Google's: endpoints, nothing else."""
        return {
            "CLOUD_TASKS_ENDPOINT": self.grpc_endpoint,
            "SECRET_MANAGER_ENDPOINT": self.grpc_endpoint,
            "CLOUD_RUN_ENDPOINT": self.grpc_endpoint,
            "STORAGE_ENDPOINT": self.http_url,
            "GOOGLE_CERTS_URL": f"{self.http_url}/oauth2/v3/certs",
            "GCE_METADATA_HOST": self.http_host,
        }

    def trust(self) -> Mapping[str, str]:
        """What a child process needs beside the endpoints: our certificate, and the metadata server's address once more,
        which google-auth otherwise looks for at its fixed number."""
        return {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate()), "GCE_METADATA_IP": self.http_host}

    def add_queue(self, name: str, **settings: object) -> tasks_v2.Queue:
        return self.tasks.add_queue(tasks_v2.Queue(name=f"{QUEUES}/{name}", **settings))

    async def put_secret(self, name: str, value: bytes) -> None:
        """As whoever sets up the project would, before the programs start."""
        from google.cloud import secretmanager_v1 as sm

        if name not in self.secrets.kept:
            automatic = sm.Replication(automatic=sm.Replication.Automatic())
            request = sm.CreateSecretRequest(
                parent=f"projects/{PROJECT}", secret_id=name, secret=sm.Secret(replication=automatic)
            )
            await self.secrets.create_secret(request, OWNER)
        parent = f"projects/{PROJECT}/secrets/{name}"
        await self.secrets.add_secret_version(
            sm.AddSecretVersionRequest(parent=parent, payload=sm.SecretPayload(data=value)), OWNER
        )

    def _app(self) -> Starlette:
        verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return Starlette(
            routes=[
                Route("/", self._metadata_root),
                Route("/computeMetadata/v1/{path:path}", self._metadata),
                Route("/oauth2/v3/certs", self._certs),
                Route("/storage/{path:path}", self.storage.handle, methods=verbs),
                Route("/upload/storage/{path:path}", self.storage.handle, methods=verbs),
                Route("/download/storage/{path:path}", self.storage.handle, methods=verbs),
                Route("/{path:path}", self._rest, methods=verbs),
            ]
        )

    async def _metadata_root(self, request: Request) -> Response:
        return PlainTextResponse("", headers={"metadata-flavor": "Google"})

    async def _metadata(self, request: Request) -> Response:
        if request.headers.get("metadata-flavor") != "Google" or self.metadata_down:
            return PlainTextResponse("", status_code=503 if self.metadata_down else 403)
        headers = {"metadata-flavor": "Google"}
        path = request.path_params["path"].rstrip("/")
        match path.removeprefix(f"instance/service-accounts/{self.account}/").removeprefix(
            "instance/service-accounts/default/"
        ):
            case "token":
                self.token_requests += 1
                token = self.identities.access_token(self.account)
                body = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
                return JSONResponse(body, headers=headers)
            case "identity":
                audience = request.query_params["audience"]
                return PlainTextResponse(self.identities.identity_token(self.account, audience), headers=headers)
            case "email":
                return PlainTextResponse(self.account, headers=headers)
            case "instance/service-accounts/default":
                body = {"email": self.account, "aliases": ["default"], "scopes": ["cloud-platform"]}
                return JSONResponse(body, headers=headers)
            case "project/project-id":
                return PlainTextResponse(PROJECT, headers=headers)
        return PlainTextResponse("", status_code=404, headers=headers)

    async def _certs(self, request: Request) -> Response:
        self.key_requests += 1
        return JSONResponse(self.identities.jwks())

    async def _rest(self, request: Request) -> Response:
        resource = self.resources.get(request.url.path)
        if isinstance(resource, int):
            return JSONResponse({"error": {"code": resource}}, status_code=resource)
        if resource is not None:
            return JSONResponse(resource)
        status, body = await rest(
            self.apis,
            request.method,
            request.url.path,
            query=dict(request.query_params),
            body=await request.body(),
            authorization=request.headers.get("authorization", ""),
        )
        return JSONResponse(body, status_code=status)


@asynccontextmanager
async def google_cloud() -> AsyncIterator[GoogleCloud]:
    cloud = GoogleCloud()
    chain = certificate().read_bytes()
    key = rsa_key(99).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = grpc.aio.server(handlers=[Grpc(cloud.apis)])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    cloud.grpc_endpoint = f"127.0.0.1:{port}"
    http_port = free_port()
    cloud.http_url = f"http://127.0.0.1:{http_port}"
    http = Server(cloud._app(), port=http_port)
    await http.start()
    try:
        yield cloud
    finally:
        await cloud.tasks.close()
        await cloud.run.close()
        await http.stop()
        await server.stop(None)
