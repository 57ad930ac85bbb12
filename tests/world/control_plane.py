"""The control plane in this process: the real app, store, secrets and queue on a temporary folder, the local forge as
GitHub, and a clock that tests move. What runners would do, tests do through signed calls."""

import asyncio
import contextlib
import copy
import hashlib
import hmac
import json
import os
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import msgspec

from dispatcher.app import build_app
from dispatcher.wiring import connect
from infra.core.access import Permission, new_api_key, sign, signing_key
from infra.core.errors import Unavailable
from infra.core.ids import new_token, parse_run_id
from infra.local import identity
from infra.local.queue import LocalQueue
from infra.platform_secrets import APP_PRIVATE_KEY, INTERNAL_KEY, RUN_TOKEN_KEY, WEBHOOK_SECRET
from infra.settings import DispatcherSettings, load
from infra.wire import ProcessIssue
from tests.world.forge import APP_ID, FILES, forge_world, key_pair

URL = "http://dispatcher.test"
SECRET = b"a webhook secret"


class WatchedQueue(LocalQueue):
    """The local queue, which also remembers what was put into it and can be out of order.

    ``tasks`` are for runners; ``nudges`` ask the control plane itself to tell people something.
    """

    def __init__(self, path, clock):
        super().__init__(path, clock)
        self.tasks = []
        self.nudges = []
        self.something = asyncio.Event()
        self.broken = None

    async def create(self, task):
        if self.broken is not None:
            raise self.broken
        accepted = await super().create(task)
        if accepted:
            (self.nudges if task.url.endswith("/internal/announce") else self.tasks).append(task)
            self.something.set()
        return accepted


class ControlPlane:
    def __init__(self, services, github):
        self.github = github
        self.become(services)

    def become(self, services):
        """Another wiring of the same store."""
        self.services = services
        self.queue = services.queue
        self.app = build_app(services)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=URL)

    @property
    def now(self):
        return self.services.clock()

    def with_services(self, services):
        """The same world with other collaborators."""
        return ControlPlane(services, self.github)

    def holder(self, run_id, token):
        """Who holds this token of a run."""
        return Runner(self, ProcessIssue(run_id=run_id, token=token, gateway_url=URL))

    async def key(self, permission=Permission.ADMIN):
        text, record = new_api_key(name="tests", permission=permission, now=self.now, entropy=os.urandom)
        await self.services.keys.add(record)
        return {"authorization": f"Bearer {text}"}

    async def dispatch(self, *, repo="shop", task="Fix the totals", prefer="respond-async", **headers):
        body = {
            "owner": "acme",
            "repo": repo,
            "workflowId": "claude.yml",
            "inputs": {"action_type": "create-pr", "context": task},
        }
        key = await self.key()
        return await self.http.post("/api/workflows/dispatch", json=body, headers={**key, "prefer": prefer, **headers})

    async def new_run(self, **options):
        answer = await self.dispatch(**options)
        assert answer.status_code == 202, answer.text
        return await self.run(answer.json()["run_id"])

    async def run(self, run_id):
        return await self.services.runs.get(parse_run_id(run_id))

    async def deliver(self, payload, event="issues", delivery="", secret=SECRET):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = {
            "x-github-event": event,
            "x-github-delivery": delivery or str(uuid.uuid4()),
            "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
        }
        return await self.http.post("/webhook/github", content=body, headers=headers)

    def issue(self, number=1, action="labeled", sender="alice", **changes):
        """An ``issues`` payload as the forge would send it, reduced to what matters."""
        label = {"id": 1, "name": "claude", "color": "ededed"}
        payload = {
            "action": action,
            "issue": {
                "id": 1000 + number,
                "number": number,
                "title": "Totals are wrong",
                "body": "They are off by one.",
                "html_url": f"{self.github.forge.url}/acme/shop/issues/{number}",
                "state": "open",
                "labels": [label],
                "user": {"login": sender, "id": 7, "type": "User"},
                "author_association": "OWNER",
                "updated_at": "2026-11-20T10:00:00Z",
            },
            "repository": {
                "id": self.github.repo.id,
                "name": "shop",
                "full_name": "acme/shop",
                "private": True,
                "owner": {"login": "acme", "id": 5, "type": "Organization"},
            },
            "installation": {"id": self.github.installation.id},
            "sender": {"login": sender, "id": 7, "type": "User"},
            "label": label,
        }
        return {**payload, **changes}

    def runner(self, task=None):
        """Who holds the token of a task (the newest one, if not said)."""
        return Runner(self, msgspec.json.decode((task or self.queue.tasks[-1]).body, type=ProcessIssue))

    async def sweep(self):
        key = await self.services.platform.one(INTERNAL_KEY)
        token = identity.issue(key, audience=URL, now=self.now)
        answer = await self.http.post("/internal/sweep", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        return answer.json()


class Runner:
    """Signed calls under one run's token."""

    def __init__(self, plane, job):
        self.plane = plane
        self.job = job
        self.id = job.run_id

    def headers(self, method, target, body, **changed):
        nonce = changed.get("nonce") or new_token(os.urandom, 24)
        timestamp = changed.get("timestamp") or self.plane.now
        token = changed.get("token") or self.job.token
        signature = sign(
            signing_key(token),
            timestamp=timestamp,
            nonce=nonce,
            method=method,
            target=target,
            body=changed.get("signed", body),
        )
        return {
            "authorization": f"Bearer {token}",
            "x-pullwright-timestamp": str(timestamp),
            "x-pullwright-nonce": nonce,
            "x-pullwright-signature": signature,
            "x-pullwright-content-sha256": changed.get("announced") or hashlib.sha256(body).hexdigest(),
        }

    async def call(self, method, target, body=None, *, raw=None, **changed):
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = self.headers(method, target, content, **changed)
        return await self.plane.http.request(method, target, content=content, headers=headers)

    async def claim(self, holder="runner one"):
        return await self.call(
            "POST", f"/api/runs/{self.id}/claim", {"holder": holder, "host": "service", "version": "1"}
        )

    async def beat(self, fence=1, phase="working", **more):
        return await self.call("POST", f"/api/runs/{self.id}/heartbeat", {"fence": fence, "phase": phase, **more})

    async def credentials(self, kind, fence=1):
        return await self.call("POST", f"/api/runs/{self.id}/credentials", {"fence": fence, "kind": kind})

    async def events(self, first, last, fence=1, **changes):
        events = [
            {"sequence": n, "type": "stdout", "at": n, "data": {"text": str(n)}, **changes}
            for n in range(first, last + 1)
        ]
        return await self.call("POST", "/api/ingest/event", {"run_id": self.id, "fence": fence, "events": events})

    async def settle(self, state="failed", fence=1, **more):
        return await self.call(
            "POST", f"/api/runs/{self.id}/settle", {"fence": fence, "state": state, "usage": {}, **more}
        )


@asynccontextmanager
async def control_plane(folder, files=FILES, **settings):
    """``files`` are those of ``acme/shop``; ``settings`` replace or add to the dispatcher's."""
    async with forge_world(folder, files=files) as github:
        given = {
            "DATA_DIR": str(folder / "data"),
            "PUBLIC_URL": URL,
            "CLAUDE_CLOUD_RUN_URL": "http://runner.test",
            "GITHUB_API_URL": github.forge.api_url,
            "GITHUB_URL": github.forge.url,
            "GITHUB_APP_ID": str(APP_ID),
            "ANTHROPIC_API_KEY": "sk-ant-a-model-key",
            **{name.upper(): value for name, value in settings.items()},
        }
        (folder / "data").mkdir()
        services = connect(load(DispatcherSettings, given), github.clock)
        for name, value in {
            RUN_TOKEN_KEY: b"k" * 64,
            INTERNAL_KEY: b"i" * 64,
            WEBHOOK_SECRET: SECRET,
            APP_PRIVATE_KEY: key_pair().private.encode(),
        }.items():
            await services.secrets.put(name, value)
        queue = WatchedQueue(folder / "data" / "watched.db", github.clock)
        await services.queue.close()
        plane = ControlPlane(replace(services, queue=queue), github)
        try:
            yield plane
        finally:
            await plane.http.aclose()
            with contextlib.suppress(Unavailable):  # a test may have cleared the App's credentials
                await (await plane.services.forge()).close()
            for part in (queue, services.store, services.bucket, services.secrets):
                await part.close()


def unchecked(settings, **changes):
    """Other settings, without the look at what contradicts what: the hosts here are imaginary. That look has tests of its own."""
    other = copy.copy(settings)
    for name, value in changes.items():
        msgspec.structs.force_setattr(other, name, value)
    return other
