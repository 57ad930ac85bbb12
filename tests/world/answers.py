"""Somebody's issue on the local forge, and a control plane that speaks about it when the test says so.

Time passes only when a test lets it: the clock of the forge and of the control plane is the same, and waiting moves it.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

import httpx
import msgspec

from dispatcher.engine.launch import launch, new_run
from infra.core.clock import SECOND
from infra.core.ids import parse_run_id
from infra.core.repository import Repository
from infra.core.run import Origin
from infra.core.trigger import Action, RunRequest
from infra.github.app_auth import AppCredentials
from infra.github.client import GitHubForge
from infra.github.transport import Transport
from infra.local import identity
from infra.local.forge.faults import Fault
from infra.platform_secrets import INTERNAL_KEY
from tests.world.control_plane import URL
from tests.world.forge import APP_ID, bearer, key_pair
from tests.world.git_http import git


async def branch(github, name, files, *, onto="main", message="A change"):
    """A commit by alice on a new or existing branch, pushed as she would; returns its SHA."""
    directory = github.forge.world.directory(github.repo.id)
    index = {"GIT_INDEX_FILE": str(directory / f"index-{uuid.uuid4().hex}")}
    git("read-tree", onto, cwd=directory, env=index)
    for path, content in files.items():
        blob = git("hash-object", "-w", "--stdin", cwd=directory, stdin=content.encode())
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", cwd=directory, env=index)
    tree = git("write-tree", cwd=directory, env=index)
    sha = git("commit-tree", tree, "-p", git("rev-parse", onto, cwd=directory), "-m", message, cwd=directory)
    known = await github.http.get(f"{github.path}/git/ref/heads/{name}", headers=bearer(github.person))
    if known.status_code == 200:
        answer = await github.http.patch(
            f"{github.path}/git/refs/heads/{name}", json={"sha": sha}, headers=bearer(github.person)
        )
    else:
        new = {"ref": f"refs/heads/{name}", "sha": sha}
        answer = await github.http.post(f"{github.path}/git/refs", json=new, headers=bearer(github.person))
    assert answer.status_code in {200, 201}, answer.text
    return sha


class Conversation:
    """An issue of ``acme/shop`` that ``alice`` has opened."""

    def __init__(self, plane, number):
        self.plane = plane
        self.github = plane.github
        self.number = number
        self._tasks = {}

    @classmethod
    async def on_an_issue(cls, plane, title="Totals are wrong", labels=("claude",)):
        virtual(plane)
        issue = await plane.github.forge.open_issue(plane.github.repo, title, "By one.", labels=labels, author="alice")
        return cls(plane, issue.number)

    @classmethod
    async def on_a_pull(cls, plane, head="feature"):
        """A pull request by alice that changes a line, and her comment on that line."""
        virtual(plane)
        github = plane.github
        await branch(github, head, {"src/cart.py": "def total(prices):\n    return sum(prices) + 1\n"})
        talk = cls(plane, 0)
        pull = await talk.post("pulls", {"title": "Add one", "head": head, "base": "main", "body": "One more."})
        talk.number, talk.head_sha = pull["number"], pull["head"]["sha"]
        line = {"body": "Why one?", "path": "src/cart.py", "line": 2, "side": "RIGHT", "commit_id": talk.head_sha}
        talk.line_comment = (await talk.post(f"pulls/{talk.number}/comments", line))["id"]
        return talk

    async def start_on_pull(self, **origin):
        services = self.plane.services
        request = RunRequest(
            repository=Repository("acme", "shop"),
            installation_id=self.github.installation.id,
            ref="",
            title="Explain the one",
            task="Why one?",
            action=Action.CREATE_PR,
            origin=Origin(kind="github_issue", actor="alice", issue=self.number, pull=True, **origin),
            limits=services.policy.limits,
            model="m",
            removed=(),
        )
        run = new_run(request, services, self.plane.now)
        await launch(run, services)
        self._tasks[run.id] = self.plane.queue.tasks[-1]
        return run.id

    async def start(self):
        """A labelled issue, as the webhook tells it."""
        payload = self.plane.issue(self.number)
        payload["issue"]["updated_at"] = "2026-11-20T10:00:00+00:00"
        payload["nonce"] = str(uuid.uuid4())
        answer = await self.plane.deliver(payload)
        assert answer.status_code == 202, answer.text
        run_id = answer.json()["run_id"]
        self._tasks[run_id] = self.plane.queue.tasks[-1]
        return run_id

    async def claimed(self, run_id):
        runner = self.plane.runner(self._tasks[run_id])
        answer = await runner.claim()
        assert answer.status_code == 200, answer.text
        return runner

    async def announce(self, run_id):
        return await self._post("/internal/announce", {"run_id": run_id})

    async def listen(self):
        """Everything the control plane was asked to tell by now is told, once."""
        now, nudges = self.plane.now, self.plane.queue.nudges
        ready = [task for task in nudges if task.schedule_at is None or task.schedule_at <= now]
        nudges[:] = [task for task in nudges if task not in ready]
        for run_id in dict.fromkeys(msgspec.json.decode(task.body)["run_id"] for task in ready):
            answer = await self.announce(run_id)
            assert answer.status_code == 200, answer.text

    async def sweep(self):
        await self._post("/internal/sweep", {})

    async def _post(self, path, body):
        key = await self.plane.services.platform.one(INTERNAL_KEY)
        token = identity.issue(key, audience=URL, now=self.plane.now)
        return await self.plane.http.post(path, json=body, headers=bearer(token))

    def forget_nudges(self):
        self.plane.queue.nudges.clear()

    def pass_time(self, milliseconds):
        self.github.clock.forward(milliseconds)

    def break_once(self, method, path, *, after):
        self.github.forge.faults.add(Fault(method=method, path=f"{path}$", drop="after" if after else "before"))

    async def due(self, run_id):
        return (await self.plane.services.telling.announcements.find(parse_run_id(run_id))).due_at

    def writes(self):
        return [call for call in self.github.forge.calls if call.method != "GET" and "access_tokens" not in call.path]

    async def comments(self):
        return await self.get(f"issues/{self.number}/comments")

    async def only_comment(self):
        (comment,) = await self.comments()
        return comment

    async def reactions(self):
        return [one["content"] for one in await self.get(f"issues/{self.number}/reactions")]

    async def labels(self):
        return [one["name"] for one in await self.get(f"issues/{self.number}/labels")]

    async def say(self, body, person="alice"):
        answer = await self.github.http.post(
            f"{self.github.path}/issues/{self.number}/comments",
            json={"body": body},
            headers=bearer(self.github.forge.person_token(person)),
        )
        assert answer.status_code == 201, answer.text

    async def delete_comment(self, number):
        await self.github.http.delete(
            f"{self.github.path}/issues/comments/{number}", headers=bearer(self.github.person)
        )

    async def post(self, path, body, person="alice"):
        token = self.github.forge.person_token(person)
        answer = await self.github.http.post(f"{self.github.path}/{path}", json=body, headers=bearer(token))
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def thread(self):
        return (await self.get(f"pulls/{self.number}/comments"))[1:]

    async def resolved(self):
        return [one.id for one in self.github.forge.world.resolutions]

    async def get(self, path):
        answer = await self.github.http.get(f"{self.github.path}/{path}", headers=bearer(self.github.person))
        assert answer.status_code == 200, answer.text
        return answer.json()

    @staticmethod
    def checklist(run_id, *points, first=1):
        todos = [{"content": text, "status": status, "activeForm": text} for text, status in points]
        data = {"id": "t", "name": "TodoWrite", "input": {"todos": todos}, "summary": "TodoWrite"}
        event = {"sequence": first, "type": "tool_use", "at": 1, "data": data}
        return {"run_id": run_id, "fence": 1, "events": [event]}


def virtual(plane):
    """The control plane's GitHub client waits on the plane's clock; once."""
    if getattr(plane, "virtual", False):
        return
    clock = plane.github.clock

    async def sleep(seconds):
        clock.forward(round(seconds * SECOND))

    forge = GitHubForge(
        transport=Transport(
            api_url=plane.github.forge.api_url,
            http=httpx.AsyncClient(trust_env=False, timeout=30, verify=False),
            ticks=clock,
            sleep=sleep,
        ),
        git_url=plane.github.forge.url,
        credentials=AppCredentials(str(APP_ID), key_pair().private),
        clock=clock,
    )

    async def connected():
        return forge

    plane.become(replace(plane.services, forge=connected))
    plane.virtual = True
