"""The function: functions-framework loads this file and serves ``dispatch`` for every path.

An async target may answer with any ASGI callable, so the whole route table – streams included – is the answer.
"""

from __future__ import annotations

import gc
from functools import cache

import functions_framework.aio
from starlette.requests import Request
from starlette.types import ASGIApp

from dispatcher.app import build_app
from dispatcher.wiring import connect
from infra.logs import configure
from infra.settings import DispatcherSettings, load


@cache
def app() -> ASGIApp:
    """Made at the first request: loading this module must stay cheap and must not need settings."""
    settings = load(DispatcherSettings)
    configure("dispatcher", settings.effective_log_level)
    built = build_app(connect(settings))
    gc.freeze()  # what is here stays for good; walking all of it again and again made the slowest percent of answers
    return built


async def dispatch(request: Request) -> ASGIApp:  # noqa: ARG001 – the framework's signature; the app reads scope and body itself
    return app()


# not as a decorator: its type knows responses only, while the framework awaits any ASGI callable that comes back
functions_framework.aio.http(dispatch)  # type: ignore[arg-type]
