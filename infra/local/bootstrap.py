"""The world around a local installation: the real GitHub and model where there are credentials, the embedded ones where
there are none – reached the same way, through the same settings."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from infra.local.processes import Child, free_port
from infra.local.rehearsal.catalogue import SCRIPTS, load_rehearsal
from infra.local.secrets import FileSecrets
from infra.platform_secrets import APP_PRIVATE_KEY, WEBHOOK_SECRET

APP_ID = 424242
APP_SLUG = "pullwright-local"
PERSON = "you"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTask:
    owner: str
    repo: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``settings``: what the dispatcher must be told. ``probes``: (program, address that answers when it is up).
    ``places``: (name, address) that a person may open. ``explanation``: what is real here and what is not."""

    settings: Mapping[str, str]
    programs: tuple[tuple[str, tuple[str, ...], Path], ...]
    probes: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, str], ...]
    explanation: tuple[str, ...]
    demo: DemoTask | None
    forge_url: str = ""
    person_token: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def children(self, inherited: Mapping[str, str]) -> list[Child]:
        return [Child(name, argv, {**inherited, **self.environment}, log) for name, argv, log in self.programs]


async def prepare_world(data: Path, given: Mapping[str, str], store: FileSecrets, *, dispatcher_url: str) -> World:
    """Writes what the embedded programs need and says how to start them."""
    settings: dict[str, str] = {}
    programs: list[tuple[str, tuple[str, ...], Path]] = []
    probes: list[tuple[str, str]] = []
    places: list[tuple[str, str]] = []
    explanation: list[str] = []
    demo = None
    forge_url, person_token = "", None
    if given.get("GITHUB_APP_ID"):
        explanation.append(f"forge   {given.get('GITHUB_URL', 'https://github.com')} (real)")
    else:
        forge_url = f"http://127.0.0.1:{free_port()}"
        person_token = data / "forge" / "person-token"
        seed = await _seed(data, store, dispatcher_url, person_token)
        argv = (
            sys.executable,
            "-m",
            "infra.local.forge",
            "--data",
            str(data / "forge"),
            "--port",
            forge_url.rpartition(":")[2],
            "--seed",
            str(seed),
        )
        programs.append(("forge", argv, data / "logs" / "forge.log"))
        probes.append(("forge", f"{forge_url}/api/v3/rate_limit"))
        places.append(("forge", forge_url))
        settings |= {"GITHUB_API_URL": f"{forge_url}/api/v3", "GITHUB_URL": forge_url, "GITHUB_APP_ID": str(APP_ID)}
        explanation.append("forge   local: real git over HTTP and the GitHub API that is used, on this machine only")
        owner, _, repo = load_rehearsal().demo.repository.partition("/")
        demo = DemoTask(owner=owner, repo=repo, text=load_rehearsal().demo.context)
    if _has_model(given):
        explanation.append("model   real, paid with the credentials you gave")
    else:
        url = f"http://127.0.0.1:{free_port()}"
        key_file = data / "model-key"
        key = _kept(key_file)
        model = (
            sys.executable,
            "-m",
            "infra.local.model",
            "--port",
            url.rpartition(":")[2],
            "--scripts",
            str(SCRIPTS),
            "--key-file",
            str(key_file),
            "--pace-ms",
            given.get("REHEARSAL_PACE_MS", "15"),
        )
        programs.append(("model", model, data / "logs" / "model.log"))
        probes.append(("model", f"{url}/api/hello"))
        settings |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": key, "REHEARSAL": "true"}
        explanation.append("model   scripted rehearsal: the real Claude Code CLI, with answers from a script")
    return World(
        settings=settings,
        programs=tuple(programs),
        probes=tuple(probes),
        places=tuple(places),
        explanation=tuple(explanation),
        demo=demo,
        forge_url=forge_url,
        person_token=person_token,
    )


def _has_model(given: Mapping[str, str]) -> bool:
    named = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
    on_vertex = given.get("VERTEX_ENABLED", "").lower() in {"true", "1"}
    return on_vertex or given.get("MODEL_AUTH", "api_key") != "api_key" or any(given.get(name) for name in named)


def _kept(file: Path) -> str:
    """A random value that stays the same for this installation."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_hex(24))
    return file.read_text("ascii")


async def _seed(data: Path, store: FileSecrets, dispatcher_url: str, person_token: Path) -> Path:
    """The forge's seed document: the App with the public half of its key, people, and the rehearsal repositories."""
    (data / "forge").mkdir(parents=True, exist_ok=True, mode=0o700)
    document = {
        "apps": [
            {
                "id": APP_ID,
                "slug": APP_SLUG,
                "public_key": await _public_key(store),
                "webhook": {"url": f"{dispatcher_url}/webhook/github", "secret": await _webhook_secret(store)},
            }
        ],
        "people": [{"login": PERSON, "token_file": str(person_token)}],
        "repositories": [
            {
                "owner": name.partition("/")[0],
                "name": name.partition("/")[2],
                "source": str(repository.path),
                "private": False,
                "description": repository.description,
                "apps": [APP_ID],
                "roles": {PERSON: "admin"},
                "labels": ["claude", "bug"],
            }
            for name, repository in load_rehearsal().by_name.items()
        ],
    }
    path = data / "forge" / "seed.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(msgspec.json.encode(document))
    return path


async def _public_key(store: FileSecrets) -> str:
    """The App's public key; the pair is made at the first start and its private half goes into the secret store."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    stored = await store.get(APP_PRIVATE_KEY)
    if stored is None:
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        await store.put(APP_PRIVATE_KEY, pem)
    else:
        pem = stored.value
    public = serialization.load_pem_private_key(pem, password=None).public_key()
    encoded = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode("ascii")


async def _webhook_secret(store: FileSecrets) -> str:
    stored = await store.get(WEBHOOK_SECRET)
    if stored is None:
        await store.put(WEBHOOK_SECRET, secrets.token_hex(32).encode())
        stored = await store.get(WEBHOOK_SECRET)
    assert stored is not None
    return stored.text
