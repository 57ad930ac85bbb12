"""A small client of the dispatcher's API, for the programs that a person runs: dispatch, follow, look."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import httpx_sse

from infra.core.errors import Unavailable, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """``kind`` is the event's type, or ``end`` for the last one, whose data is the finished run, or ``gap`` for events that
    are no longer kept, whose data says which."""

    kind: str
    sequence: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Client:
    """``url`` without a trailing slash. Raises ``Upstream`` with the dispatcher's own words when it refuses."""

    url: str
    key: str

    def _http(self, timeout: float | None) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    async def dispatch(self, *, owner: str, repo: str, task: str, wait_seconds: int = 0) -> dict[str, Any]:
        """Starts a run; with ``wait_seconds`` the answer may already be the result."""
        body = {
            "owner": owner,
            "repo": repo,
            "workflowId": "claude.yml",
            "inputs": {"action_type": "create-pr", "context": task},
        }
        prefer = f"wait={wait_seconds}" if wait_seconds else "respond-async"
        async with self._http(30.0 + wait_seconds) as http:
            return _answer(await http.post("/api/workflows/dispatch", json=body, headers={"prefer": prefer}))

    async def run(self, run_id: str) -> dict[str, Any]:
        async with self._http(30.0) as http:
            return _answer(await http.get(f"/api/runs/{run_id}"))

    async def follow(self, run_id: str) -> AsyncIterator[RunEvent]:
        """Every event from the first to the end; a dropped connection is taken up again where it broke off."""
        after, failures = 0, 0
        async with self._http(None) as http:
            while failures < 10:
                try:
                    async for event in _events(http, run_id, after):
                        failures, after = 0, event.sequence or after
                        yield event
                        if event.kind == "end":
                            return
                except httpx.TransportError:
                    pass
                failures += 1
        raise Unavailable("The dispatcher stopped answering.", hint="Look at its log.")


async def _events(http: httpx.AsyncClient, run_id: str, after: int) -> AsyncIterator[RunEvent]:
    headers = {"last-event-id": str(after)}
    async with httpx_sse.aconnect_sse(http, "GET", f"/api/runs/{run_id}/events", headers=headers) as source:
        if source.response.status_code != 200:
            await source.response.aread()
            _answer(source.response)
        async for message in source.aiter_sse():
            data = json.loads(message.data)
            if message.event == "cut":
                return
            if message.event == "end":
                yield RunEvent(kind="end", sequence=0, data=data)
            elif message.event == "gap":
                yield RunEvent(kind="gap", sequence=data["last"], data=data)
            else:
                yield RunEvent(kind=message.event, sequence=data["sequence"], data=data["data"])


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        body = {}
    if response.is_success:
        return body
    error = body.get("error", {})
    raise Upstream(
        str(error.get("message", f"The dispatcher answered {response.status_code}.")),
        code=str(error.get("code", "dispatcher_error")),
        hint=str(error.get("hint", "")),
        status=response.status_code,
    )
