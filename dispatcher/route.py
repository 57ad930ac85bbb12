"""What a route is: method, path, handler and who may call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from starlette.responses import Response

from dispatcher.call import Call

Handler = Callable[[Call], Awaitable[Response]]


class Access(StrEnum):
    """Who may call a route."""

    ANYONE = "anyone"
    SIGNATURE = "signature"  # the door checks the sender's signature over the raw body itself
    READ = "read"
    EXECUTE = "execute"
    ADMIN = "admin"
    RUNNER = "runner"  # run token and request signature
    RUNNER_STREAM = "runner_stream"  # the same; the body is left to the handler, its announced digest is signed
    READ_OR_RUNNER = "read_or_runner"
    INTERNAL = "internal"  # identity token of the queue or the scheduler


@dataclass(frozen=True, slots=True)
class Rule:
    method: str
    path: str
    handler: Handler
    access: Access
