"""Cloud Run's front end of a private service: checks who calls, takes the signature off the token, starts instances.

Concurrency is 1, as the runner service is deployed: an instance has one request at a time, a busy service starts one more
(up to ``max_instances``, then 429), and an instance whose process has ended is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from infra.local.processes import free_port
from tests.world.google_identity import Identities, Roles, rsa_key

_START_SECONDS = 60.0


@dataclass
class Instance:
    process: asyncio.subprocess.Process
    url: str
    busy: bool = True
    requests: int = 0


@dataclass
class Front:
    """``argv`` starts an instance, with PORT in its environment; ``served``: requests by instance, in order of start."""

    identities: Identities
    roles: Roles
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    max_instances: int = 3
    audience: str = ""
    instances: list[Instance] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    last_headers: dict[str, str] = field(default_factory=dict)

    @property
    def served(self) -> list[int]:
        return [instance.requests for instance in self.instances]

    async def handle(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self._may_invoke(token):
            self.refused.append(403 if token else 401)
            return PlainTextResponse("Your client does not have permission", status_code=self.refused[-1])
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        headers["authorization"] = f"Bearer {token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"
        self.last_headers = headers
        instance = await self._instance()
        if instance is None:
            return PlainTextResponse("no available instance", status_code=429)
        try:
            instance.requests += 1
            async with httpx.AsyncClient(base_url=instance.url, trust_env=False, timeout=1800) as http:
                answer = await http.request(
                    request.method, request.url.path, content=await request.body(), headers=headers
                )
            return Response(
                answer.content, status_code=answer.status_code, media_type=answer.headers.get("content-type")
            )
        except httpx.TransportError:
            return PlainTextResponse("the instance failed", status_code=503)
        finally:
            instance.busy = False

    async def close(self) -> None:
        for instance in self.instances:
            if instance.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    instance.process.send_signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(instance.process.wait(), 10)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(instance.process.pid, signal.SIGKILL)
                await instance.process.wait()

    def _may_invoke(self, token: str) -> bool:
        try:
            number = jwt.get_unverified_header(token)["kid"].removeprefix("key-")
            claims = jwt.decode(token, rsa_key(int(number)).public_key(), algorithms=["RS256"], audience=self.audience)
        except (jwt.PyJWTError, KeyError, ValueError):
            return False
        return self.roles.has(claims["email"], "run.routes.invoke")

    async def _instance(self) -> Instance | None:
        living = [instance for instance in self.instances if instance.process.returncode is None]
        for instance in living:
            if not instance.busy and await self._answers(instance):
                instance.busy = True
                return instance
        if len([instance for instance in living if instance.process.returncode is None]) >= self.max_instances:
            return None
        return await self._start()

    async def _start(self) -> Instance:
        port = free_port()
        with self.log.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *self.argv,
                env={**self.environment, "PORT": str(port)},
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        instance = Instance(process, f"http://127.0.0.1:{port}")
        self.instances.append(instance)
        async with asyncio.timeout(_START_SECONDS):
            while not await self._answers(instance):
                assert process.returncode is None, self.log.read_text(errors="replace")[-3000:]
                await asyncio.sleep(0.05)
        return instance

    @staticmethod
    async def _answers(instance: Instance) -> bool:
        with contextlib.suppress(OSError):
            host, port = instance.url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await writer.wait_closed()
            return True
        return False
