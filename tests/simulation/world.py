"""One simulated story: people ask for work, everything that can fail does, and in the end all is looked at."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.core.access import Permission, new_api_key
from infra.core.clock import Instant
from infra.core.run import TERMINAL, State
from infra.local.documents import SqliteDocuments
from infra.records.indexes import INDEXES
from infra.records.keys import ApiKeys
from tests.simulation import checker
from tests.simulation.chaos import Edge, Planned, Seeded
from tests.simulation.control_plane import SECRET, URL, ControlPlane
from tests.simulation.github import OWNER, REPO, SimGitHub
from tests.simulation.journal import Journal
from tests.simulation.process import Process, task_factory
from tests.simulation.runners import Runners
from tests.simulation.stage import Stage, staged
from tests.simulation.virtual_time import Deadlock, VirtualLoop

START = 1_763_680_000_000
TROUBLE_SECONDS = 45 * 60.0
PATIENCE_SECONDS = 8 * 3600.0
SWEEP_SECONDS = 60.0
TELLING_SECONDS = 20 * 60.0
"""What is told after the end of a run comes later, and also when nothing fails any more."""


@dataclass(frozen=True)
class Story:
    """What came of one seed. ``runs``: state by run id."""

    seed: int
    violations: tuple[str, ...]
    runs: dict
    hash: str
    journal: Journal
    counts: dict
    unknown: frozenset


class World:
    def __init__(self, seed, plan, folder, loop):
        self.seed = seed
        self.folder = folder
        self.random = random.Random(seed)
        self.clock = lambda: Instant(START + int(loop.time() * 1000))
        self.journal = Journal(loop.time)
        self.edge = Edge(plan(self.random), self.random, self.journal)
        self.store = SqliteDocuments.open(":memory:", self.clock, indexes=INDEXES)
        self.github = SimGitHub(self.clock, self.journal)
        self.runners = Runners(self)
        self.plane = ControlPlane(self, self._deliver_task)
        self.defects = []  # exceptions that nobody foresaw
        self.accepted, self.cancelled, self.issue_of = set(), set(), {}

    # ── what the end looks like, from the journal and the store ──

    @property
    def states(self):
        return {entry.facts["id"]: State(entry.facts["state"]) for entry in self.journal.of("run")}

    @property
    def costs(self):
        return {
            entry.facts["id"]: entry.facts["cost"]
            for entry in self.journal.of("run")
            if State(entry.facts["state"]) in TERMINAL
        }

    @property
    def interrupted(self):
        """Runs with more than one lease, or whose runner was killed: the last words of an attempt may be lost."""
        claims = [entry.facts["run"] for entry in self.journal.of("claimed")]
        ended = {entry.facts["process"] for entry in self.journal.of("ended") if entry.facts["outcome"] != "None"}
        return {run for run in claims if claims.count(run) > 1} | {
            entry.facts["run"] for entry in self.journal.of("claimed") if entry.facts["process"] not in ended
        }

    async def story(self):
        await self._key()
        people = [asyncio.create_task(person) for person in self._people()]
        sweeper = asyncio.create_task(self._sweep())
        await asyncio.wait(people)
        for person in people:
            person.result()
        loop = asyncio.get_running_loop()
        while loop.time() < PATIENCE_SECONDS and not self._all_over():  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(30)
        await asyncio.sleep(max(0.0, TROUBLE_SECONDS - loop.time()) + TELLING_SECONDS)
        sweeper.cancel()
        self.delivered = {
            document.id: document.data["delivered"]
            for document in (await self.store.query("runs", _everything())).documents
        }

    def _all_over(self):
        states = self.states
        return all(states.get(run) in TERMINAL for run in self.accepted | set(states))

    async def _key(self):
        text, record = new_api_key(
            name="people", permission=Permission.ADMIN, now=self.clock(), entropy=self.random.randbytes
        )
        await ApiKeys(self.store).add(record)
        self.authorization = {"authorization": f"Bearer {text}", "content-type": "application/json"}

    async def _sweep(self):
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            copies = 2 if self.random.random() < 0.1 else 1
            await asyncio.gather(*[self.plane.sweep() for _ in range(copies)])

    async def _deliver_task(self, task):
        ours = task.url.startswith(URL)
        return await (self.plane.perform(task) if ours else self.runners.deliver(task))

    # ── people ──

    def _people(self):
        yield self._labels_an_issue(1)
        if self.random.random() < 0.4:
            yield self._dispatches()
        if self.random.random() < 0.3:
            yield self._labels_an_issue(2)

    async def _labels_an_issue(self, number):
        """GitHub says it once or oftener; whoever gets no answer sends it again by hand."""
        await asyncio.sleep(self.random.uniform(0, 30))
        body = json.dumps(_issue(number)).encode()
        delivery = f"{self.random.getrandbits(64):016x}"
        copies = [self._deliver(body, delivery)]
        if self.random.random() < 0.3:
            copies.append(self._deliver(body, delivery))
        if self.random.random() < 0.2:
            copies.append(self._deliver(body, f"{self.random.getrandbits(64):016x}"))
        found = {run for run in await asyncio.gather(*copies) if run}
        for run in found:
            self.accepted.add(run)
            self.issue_of[run] = number
        if found and self.random.random() < 0.25:
            await self._cancel(min(found))

    async def _deliver(self, body, delivery):
        headers = {
            "content-type": "application/json",
            "x-github-event": "issues",
            "x-github-delivery": delivery,
            "x-hub-signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(),
        }
        answer = await self._insist("POST", "/webhook/github", headers, body)
        return answer.get("run_id", "")

    async def _dispatches(self):
        await asyncio.sleep(self.random.uniform(0, 60))
        body = {
            "owner": OWNER,
            "repo": REPO,
            "workflowId": "claude.yml",
            "inputs": {"action_type": "create-pr", "context": "Fix the totals"},
        }
        headers = {**self.authorization, "idempotency-key": "one", "prefer": "respond-async"}
        answer = await self._insist("POST", "/api/workflows/dispatch", headers, json.dumps(body).encode())
        self.accepted.add(answer["run_id"])

    async def _cancel(self, run):
        await asyncio.sleep(self.random.uniform(0, 250))
        answer = await self._insist("POST", f"/api/runs/{run}/cancel", self.authorization, b"")
        if answer:
            self.cancelled.add(run)

    async def _insist(self, method, target, headers, body):
        """Until there is an answer that is no outage; a 4xx is one."""
        person = Process("a person")
        while True:

            async def effect():
                return await self.plane.call(method, target, headers, body)

            try:
                status, _, content = await person.start(
                    self.edge.call(f"people {target.rpartition('/')[2]}", effect, lambda: httpx.ReadError("No answer."))
                )
            except (httpx.TransportError, BaseException) as error:
                if not isinstance(error, httpx.TransportError) and person.alive:
                    raise
                person = Process("a person")
            else:
                if status < 500:
                    return json.loads(content) if status < 400 else {}
            await asyncio.sleep(self.random.uniform(1, 60))


def simulate(seed, *, plan=None, quiet=True):
    """One seed, from the first request to the last look."""
    if quiet:
        logging.disable(logging.CRITICAL)
    loop = VirtualLoop()
    loop.set_task_factory(task_factory)
    folder = Path(tempfile.mkdtemp(prefix="pullwright-simulation-"))
    try:
        world = World(seed, plan or by_chance, folder, loop)
        asyncio.set_event_loop(loop)
        with staged(Stage(world)):
            stuck = None
            try:
                loop.run_until_complete(world.story())
            except Deadlock:
                stuck = "I2: nothing is due and people still wait"
            found = tuple(checker.violations(world)) + ((stuck,) if stuck else ())
            _end(loop)
    finally:
        asyncio.set_event_loop(None)
        shutil.rmtree(folder, ignore_errors=True)
    return Story(
        seed=seed,
        violations=found,
        runs=world.states,
        hash=world.journal.hash(),
        journal=world.journal,
        counts=dict(world.edge.counts),
        unknown=frozenset(world.github.unknown),
    )


def by_chance(chance):
    """5 to 20 of a hundred calls go wrong, for three quarters of an hour."""
    return Seeded(chance, rate=chance.uniform(0.0, 0.2) * chance.choice((0.1, 0.5, 1)), until=TROUBLE_SECONDS)


def planned(faults):
    return lambda _: Planned(faults)


def _end(loop):
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        gathered = asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Deadlock):
            loop.run_until_complete(gathered)
    loop.close()


def _everything():
    from infra.core.store import Query

    return Query(limit=100)


def _issue(number):
    label = {"id": 1, "name": "claude", "color": "ededed"}
    return {
        "action": "labeled",
        "issue": {
            "id": 1000 + number,
            "number": number,
            "title": "Totals are wrong",
            "body": "They are off by one.",
            "html_url": f"https://github.test/{OWNER}/{REPO}/issues/{number}",
            "state": "open",
            "labels": [label],
            "user": {"login": "alice", "id": 7, "type": "User"},
            "author_association": "OWNER",
            "updated_at": "2026-11-20T10:00:00Z",
        },
        "repository": {
            "id": 77,
            "name": REPO,
            "full_name": f"{OWNER}/{REPO}",
            "private": True,
            "owner": {"login": OWNER, "id": 6, "type": "Organization"},
        },
        "installation": {"id": 5},
        "sender": {"login": "alice", "id": 7, "type": "User"},
        "label": label,
    }
