"""The platform's services as the control plane calls them: the real embedded store in memory, and a queue, secrets and a
bucket of a few lines, each call of them through an edge."""

import asyncio
import hashlib

from infra.core.bucket import StoredObject
from infra.core.errors import NotFound, Unavailable
from infra.core.secrets import Secret


def _away(what):
    return lambda: Unavailable(f"{what} did not answer.", code="simulated_outage")


class EdgedDocuments:
    """``Documents`` on the far side of an edge; writes to runs are noted."""

    def __init__(self, store, edge, journal):
        self._store = store
        self._edge = edge
        self._journal = journal

    async def get(self, path):
        return await self._edge.call("store.get", lambda: self._store.get(path), _away("The store"))

    async def commit(self, *writes):
        async def effect():
            revisions = await self._store.commit(*writes)
            for write in writes:
                kind, _, name = write.path.partition("/")
                if kind == "runs" and "/" not in name:
                    data = write.data
                    self._journal.add(
                        "run",
                        id=data["id"],
                        state=data["state"],
                        phase=data.get("phase"),
                        fence=data["fence"],
                        launch=data["launch"],
                        wake=data["wake_at"],
                        cost=data["usage"]["cost_micros"],
                        reason=(data.get("reason") or {}).get("code"),
                        checkpoint=(data.get("checkpoint") or {}).get("phase"),
                    )
            return revisions

        return await self._edge.call("store.commit", effect, _away("The store"))

    async def query(self, collection, query):
        return await self._edge.call("store.query", lambda: self._store.query(collection, query), _away("The store"))

    def changes(self, collection, after=None):
        return self._store.changes(collection, after)

    async def purge(self, now):
        return await self._store.purge(now)

    async def close(self):
        return


class SimQueue:
    """Cloud Tasks' promises: at least once, late, in no order; ``deliver(task)`` makes an attempt and says if it ended the task."""

    def __init__(self, edge, random, journal, deliver, now):
        self._edge = edge
        self._random = random
        self._journal = journal
        self._deliver = deliver
        self._now = now
        self._names = set()

    async def create(self, task):
        async def effect():
            if task.name in self._names:
                return False
            self._names.add(task.name)
            self._journal.add("task", name=task.name, url=task.url)
            copies = 2 if self._random.random() < 0.1 else 1
            for _ in range(copies):
                asyncio.get_running_loop().create_task(self._run(task), context=_nobody())
            return True

        return await self._edge.call("queue.create", effect, _away("The queue"))

    async def _run(self, task):
        ahead = max(0, (task.schedule_at or 0) - self._now()) / 1000
        await asyncio.sleep(ahead + self._random.choice((0.01, 0.5, 20)) * self._random.random())
        for attempt in range(100):
            if await self._deliver(task):
                return
            await asyncio.sleep(min(60.0, 2.0**attempt))

    async def close(self):
        return


def _nobody():
    import contextvars

    return contextvars.Context()


class SimSecrets:
    def __init__(self, values, edge):
        self._values = values
        self._edge = edge

    async def get(self, name):
        found = await self.versions(name, 1)
        return found[0] if found else None

    async def versions(self, name, limit=2):
        async def effect():
            value = self._values.get(name)
            return (Secret(name, 1, value),)[:limit] if value is not None else ()

        return await self._edge.call("secrets.get", effect, _away("The secret store"))

    async def close(self):
        return


class SimBucket:
    def __init__(self, edge):
        self._edge = edge
        self._objects = {}

    async def put(self, key, chunks, *, content_type, max_bytes):
        body = b"".join([chunk async for chunk in chunks])
        stored = StoredObject(key, len(body), hashlib.sha256(body).hexdigest(), content_type)

        async def effect():
            self._objects[key] = (stored, body)
            return stored

        return await self._edge.call("bucket.put", effect, _away("The bucket"))

    async def stat(self, key):
        async def effect():
            found = self._objects.get(key)
            return found[0] if found else None

        return await self._edge.call("bucket.stat", effect, _away("The bucket"))

    async def open(self, key):
        if key not in self._objects:
            raise NotFound(f"There is no {key}.")
        yield self._objects[key][1]

    async def list(self, prefix, limit=1000):
        return tuple(stored for key, (stored, _) in sorted(self._objects.items()) if key.startswith(prefix))[:limit]

    async def delete(self, key):
        self._objects.pop(key, None)

    async def close(self):
        return
