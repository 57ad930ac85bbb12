"""Sends webhooks: signed, in order, in the background, once. Each delivery is kept and can be asked for again.

GitHub waits ten seconds and never repeats by itself; neither does the forge.
https://docs.github.com/webhooks/using-webhooks/handling-failed-webhook-deliveries
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from msgspec.structs import replace

from infra.local.forge import account, delivery, repository
from infra.local.forge.account import Account, node_id
from infra.local.forge.delivery import Delivery
from infra.local.forge.integration import App, Hook, Installation
from infra.local.forge.repository import Repository

if TYPE_CHECKING:
    from infra.local.forge.world import World

_TIMEOUT = 10.0
_KEPT = 2_000
_MAX_RESPONSE = 65_536
_MAX_PAYLOAD = 25 * 1024 * 1024
"""Larger ones are not sent at all. https://docs.github.com/webhooks/webhook-events-and-payloads#payload-cap"""

_NO_ANSWER = "failed to connect to host"


class Webhooks:
    """One queue and one sender per App."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queues: dict[int, asyncio.Queue[int]] = {}
        self._senders: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient | None = None
        for row in world.deliveries.where(lambda row: row.delivered_at is None):
            # The last process ended before its turn came; found here, it can be asked for again.
            world.deliveries.put(replace(row, delivered_at=row.queued_at, status=_NO_ANSWER))

    def emit(self, event: str, repo: Repository, actor: Account, payload: Mapping[str, Any]) -> None:
        """Queues ``payload`` for each App that is installed on ``repo`` and listens to ``event``."""
        for installation in self._world.installations.where(lambda row: row.covers(repo)):
            app = self._world.apps.get(installation.app)
            if app and app.hook.url and event in app.events and installation.suspended_at is None:
                self._queue_for(app, event, repo, installation, self._complete(payload, repo, actor, installation))

    def ping(self, app: App) -> None:
        hook = {
            "type": "App",
            "id": app.hook.id,
            "name": "web",
            "active": True,
            "events": list(app.events),
            "config": shape_config(app.hook),
            "app_id": app.id,
            "deliveries_url": self._world.api("/app/hook/deliveries"),
        }
        payload = {"zen": "Practicality beats purity.", "hook_id": app.hook.id, "hook": hook}
        self._queue_for(app, "ping", None, None, payload)

    def again(self, row: Delivery) -> Delivery:
        """A new delivery with the same GUID and body, to where the hook points now."""
        app = self._world.apps.get(row.app)
        assert app is not None
        return self._queue(
            replace(
                row,
                id=self._world.new_id(),
                url=app.hook.url,
                redelivery=True,
                queued_at=self._world.now(),
                delivered_at=None,
                status="",
                status_code=0,
                response_headers={},
                response_body="",
            )
        )

    async def drain(self) -> None:
        """Returns when nothing waits to be sent any more."""
        await asyncio.gather(*(queue.join() for queue in self._queues.values()))

    async def close(self) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _complete(
        self, payload: Mapping[str, Any], repo: Repository, actor: Account, installation: Installation
    ) -> dict[str, Any]:
        world = self._world
        owner = world.accounts.get(repo.owner)
        shown = payload.get("repository") or repository.shape(world, repository.current(world, repo))
        return {
            **payload,
            "repository": shown,
            **({"organization": shape_organization(world, owner)} if owner and owner.type == "Organization" else {}),
            "sender": account.shape(world, actor),
            "installation": {"id": installation.id, "node_id": node_id("IN", installation.id)},
        }

    def _queue_for(
        self,
        app: App,
        event: str,
        repo: Repository | None,
        installation: Installation | None,
        payload: Mapping[str, Any],
    ) -> None:
        body = msgspec.json.encode(payload)
        if len(body) > _MAX_PAYLOAD:
            return
        self._queue(
            Delivery(
                id=self._world.new_id(),
                app=app.id,
                guid=str(uuid.UUID(bytes=self._world.entropy(16), version=4)),
                event=event,
                action=payload.get("action"),
                repository=repo.id if repo else None,
                installation=installation.id if installation else None,
                url=app.hook.url,
                body=body,
                queued_at=self._world.now(),
            )
        )

    def _queue(self, row: Delivery) -> Delivery:
        self._world.deliveries.put(row)
        for old in self._world.deliveries.oldest(len(self._world.deliveries) - _KEPT):
            self._world.deliveries.delete(old)
        if row.app not in self._queues:
            self._queues[row.app] = asyncio.Queue()
            self._senders.append(asyncio.create_task(self._send_in_order(self._queues[row.app])))
        self._queues[row.app].put_nowait(row.id)
        return row

    async def _send_in_order(self, queue: asyncio.Queue[int]) -> None:
        while True:
            row = self._world.deliveries.get(await queue.get())
            try:
                if row is not None:
                    await self._send(row)
            finally:
                queue.task_done()

    async def _send(self, row: Delivery) -> None:
        app = self._world.apps.get(row.app)
        assert app is not None
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT)
        started = time.perf_counter()
        answer: dict[str, Any]
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await self._post(row, delivery.headers(app, row))
        except TimeoutError:
            answer = {"status": "timed out"}
        except (httpx.HTTPError, httpx.InvalidURL):
            answer = {"status": _NO_ANSWER}
        self._world.deliveries.put(
            replace(row, delivered_at=self._world.now(), duration=time.perf_counter() - started, **answer)
        )

    async def _post(self, row: Delivery, headers: Mapping[str, str]) -> dict[str, Any]:
        assert self._client is not None
        async with self._client.stream("POST", row.url, content=row.body, headers=headers) as response:
            text = bytearray()
            with contextlib.suppress(httpx.StreamError):
                async for chunk in response.aiter_bytes():
                    text += chunk[: _MAX_RESPONSE - len(text)]
        return {
            "status": "OK" if response.is_success else response.reason_phrase or f"{response.status_code}",
            "status_code": response.status_code,
            "response_headers": dict(response.headers),
            "response_body": text.decode(errors="replace"),
        }


def shape_config(hook: Hook) -> dict[str, str]:
    """The secret is never shown."""
    return {
        "content_type": "json",
        "insecure_ssl": "0",
        **({"secret": "********"} if hook.secret else {}),
        "url": hook.url,
    }


def point(world: World, app: App, *, url: str | None, secret: str | None) -> App:
    """Changes where the App's webhooks go; None leaves a part as it is."""
    hook = replace(
        app.hook,
        url=app.hook.url if url is None else url,
        secret=app.hook.secret if secret is None else secret,
    )
    return world.apps.put(replace(app, hook=hook))


def shape_organization(world: World, owner: Account) -> dict[str, Any]:
    url = world.api(f"/orgs/{owner.login}")
    return {
        "login": owner.login,
        "id": owner.id,
        "node_id": node_id("O", owner.id),
        "url": url,
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events",
        "hooks_url": f"{url}/hooks",
        "issues_url": f"{url}/issues",
        "members_url": f"{url}/members{{/member}}",
        "public_members_url": f"{url}/public_members{{/member}}",
        "avatar_url": f"{world.url}/avatars/{owner.id}",
        "description": "",
    }
