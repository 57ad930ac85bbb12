"""Every store that keeps the ``Documents`` promises, one after the other, behind one fixture."""

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.core.clock import Instant
from infra.core.store import Documents
from infra.local.documents import SqliteDocuments
from tests.world import firestore_emulator

INDEXES = {"things": ("n", ("s", "n"), "a.b"), "sub": ("n",)}


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


@dataclass
class Backend:
    """A fresh, empty database. ``open`` gives one more store on it, as another process or a restart would."""

    name: str
    make: Callable[[], Documents]
    opened: list[Documents] = field(default_factory=list)
    _numbers: itertools.count = field(default_factory=itertools.count)

    def open(self) -> Documents:
        if self.name == "sqlite-memory" and self.opened:
            return self.opened[0]
        self.opened.append(self.make())
        return self.opened[-1]

    def collection(self, kind: str = "things") -> str:
        """One that nothing was written to, so that hypothesis' examples do not meet."""
        return f"worlds/{next(self._numbers)}/{kind}"


@pytest.fixture(scope="session")
def emulator_host():
    reason = firestore_emulator.missing()
    if reason:
        pytest.skip(reason)
    with firestore_emulator.running() as host:
        yield host


@pytest.fixture(params=["sqlite-memory", "sqlite-file", pytest.param("firestore", marks=pytest.mark.emulator)])
async def backend(request, tmp_path, monkeypatch) -> AsyncIterator[Backend]:
    made = Backend(request.param, _maker(request, tmp_path, monkeypatch))
    yield made
    for store in made.opened:
        await store.close()


@pytest.fixture
def store(backend: Backend) -> Documents:
    return backend.open()


def _maker(request, folder: Path, monkeypatch) -> Callable[[], Documents]:
    if request.param == "sqlite-memory":
        return lambda: SqliteDocuments.open(":memory:", now)
    if request.param == "sqlite-file":
        return lambda: SqliteDocuments.open(folder / "state.db", now, indexes=INDEXES)
    from infra.gcp.firestore import FirestoreDocuments

    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", request.getfixturevalue("emulator_host"))
    project = f"test-{uuid.uuid4().hex[:16]}"
    return lambda: FirestoreDocuments(project=project, clock=now, poll_seconds=0.05)
