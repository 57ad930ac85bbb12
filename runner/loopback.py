"""A small HTTP listener inside the running event loop, for the sockets that a sandboxed agent is given.

uvicorn's protocol without uvicorn's server: that one takes over the process's signals and looks for its end ten times a
second, and a runner has its own way with both.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_KEEP_ALIVE_SECONDS = 300
"""Longer than a tool call usually takes: a connection closed under a new request is an avoidable retry."""

_CLOSING_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Listens until ``close``. ``port`` is on 127.0.0.1."""

    port: int
    servers: tuple[asyncio.Server, ...]
    state: ServerState

    async def close(self) -> None:
        """Stops listening, cuts every connection and waits until their requests have been accounted for."""
        for server in self.servers:
            server.close()
        tasks = list(self.state.tasks)
        for connection in list(self.state.connections):
            connection.transport.abort()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
            for task in left:
                task.cancel()


def unix_options(path: Path) -> dict[str, Any]:
    """For ``create_unix_server``: a socket at ``path``, which may lie as deep as workspaces do.

    A socket's address may have 107 bytes, so the folder is named by a descriptor. Every user that can reach the folder
    may connect: whoever owns it decides.
    """
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bound.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o666)
    except OSError:
        bound.close()
        raise
    finally:
        os.close(folder)
    # since Python 3.13 a server removes its socket's address, which by then is another's descriptor
    return {"sock": bound} | ({"cleanup_socket": False} if sys.version_info >= (3, 13) else {})


async def listen(app: ASGIApp, *, unix: Path | None = None) -> Listener:
    """Serves the ASGI ``app`` on a free port of 127.0.0.1, and on the unix socket ``unix`` when one is named."""
    config = Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    def protocol() -> H11Protocol:
        return H11Protocol(config=config, server_state=state, app_state={})

    tcp = await loop.create_server(protocol, "127.0.0.1", 0)
    servers = [tcp]
    if unix is not None:
        servers.append(await loop.create_unix_server(protocol, **await asyncio.to_thread(unix_options, unix)))
    listening: socket.socket = tcp.sockets[0]
    return Listener(port=listening.getsockname()[1], servers=tuple(servers), state=state)
