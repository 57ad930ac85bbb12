"""The only way to the model: takes the agent's placeholder, puts the real credential on, counts and limits what is spent.

It listens on loopback, and on a unix socket where the sandbox has no network. Answers stream through untouched as they
come; errors of the upstream pass with status, ``retry-after`` and body, so that the agent's own retries work.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from infra.core.clock import Clock, Instant
from infra.core.errors import Forbidden, Invalid, PullwrightError
from infra.core.ids import Entropy, new_token
from infra.core.run import Usage
from infra.wire import ModelCredentials
from runner.agents.port import Denial
from runner.allowance import Allowance, Hold, estimate
from runner.exchange import Entry, Exchange, with_surcharge
from runner.ledger import usage_of
from runner.loopback import Listener, listen
from runner.model_protocol import MAX_BODY_BYTES, ModelRequest, error_body, error_event, headers_down, read_request
from runner.model_server import ModelServer, Renew
from runner.outlets import Outlet
from runner.recorder import Ended, Recorder

_MESSAGES = "/v1/messages"
_COUNT_TOKENS = "/v1/messages/count_tokens"
_HELLO = "/api/hello"

BUDGET_STATUS = 402
"""Status of a refusal for lack of budget; the API itself uses it for billing errors, and the CLI does not repeat it."""

_BUDGET_USED_UP = "The budget of this run is used up. Stop here; nothing more can be asked of the model."
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetNotice:
    """``percent`` of the budget was passed; ``text`` is what to tell the agent."""

    percent: int
    text: str


async def _nobody(_: object) -> None:
    return


class Broker:
    """Serves one run while its context is open.

    ``url`` and ``token`` are what the agent is given, ``port`` and ``socket`` where it listens, ``ledger`` what was
    spent on (in the order in which answers ended), ``refused`` how often what was turned away.

    ``notify`` is told when a share of the budget is gone; ``blocked`` gets a sentence for people when the agent asked for
    what the run's policy does not allow, once for each; ``renew`` fetches credentials that last longer.
    """

    def __init__(
        self,
        *,
        credentials: ModelCredentials,
        budget_micros: int,
        clock: Clock,
        entropy: Entropy,
        notify: Callable[[BudgetNotice], Awaitable[None]] = _nobody,
        blocked: Callable[[str], Awaitable[None]] = _nobody,
        renew: Renew | None = None,
        recorder: Recorder | None = None,
        socket: Path | None = None,
    ) -> None:
        self.token = f"sk-run-{new_token(entropy)}"
        self.port = 0
        self.socket = socket
        self.refused: Counter[str] = Counter()
        self._server = ModelServer(credentials, clock=clock, renew=renew)
        self._ledger: list[Entry] = []
        self._allowance = Allowance(budget_micros)
        self._warm: dict[str, int] = {}
        self._asked = 0
        self._recorder = recorder
        self._clock = clock
        self._notify = notify
        self._blocked = blocked
        self._told: set[str] = set()
        self._active_at = clock()

    def __repr__(self) -> str:
        return f"Broker(url={self.url!r})"

    async def __aenter__(self) -> Self:
        await self._server.open()
        self._listener: Listener = await listen(self, unix=self.socket)
        self.port = self._listener.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.close()
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def surcharge_percent(self) -> int:
        return self._server.credentials.surcharge_percent

    @property
    def ledger(self) -> tuple[Entry, ...]:
        return tuple(self._ledger)

    @property
    def exhausted(self) -> bool:
        """A request had to be refused or cut because the budget has no room for it."""
        return self._allowance.exhausted

    @property
    def active_at(self) -> Instant:
        """When the model was last asked or last said something."""
        return self._active_at

    @property
    def usage(self) -> Usage:
        return usage_of(self._ledger)

    async def denied(self) -> Denial:
        """Returns once it is certain that the model's server does not accept the credential."""
        return await self._server.denied()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        route = (request.method, request.url.path)
        if route in {("HEAD", _HELLO), ("GET", _HELLO)}:
            await _answer(send, 200, b"{}")
        elif route not in {("POST", _MESSAGES), ("POST", _COUNT_TOKENS)}:
            await self._refuse(send, 404, "not_found_error", "Only the Messages API is available in this run.")
        elif not self._is_agent(request):
            await self._refuse(send, 401, "authentication_error", "This is not the key of this run.")
        else:
            await self._messages(request, send)

    def _is_agent(self, request: Request) -> bool:
        presented = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(presented.encode(), self.token.encode())

    async def _refuse(self, send: Send, status: int, kind: str, message: str) -> None:
        self.refused[kind] += 1
        await _answer(send, status, error_body(kind, message))

    async def _tell_blocked(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(sentence)
            await self._blocked(sentence)

    async def _messages(self, request: Request, send: Send) -> None:
        credentials = self._server.credentials
        try:
            body = await _read_body(request)
            asked = read_request(body, credentials.allowed_models, credentials.outlets)
        except ClientDisconnect:
            return
        except _BodyTooLarge:
            await self._refuse(send, 413, "request_too_large", "The request is over 32 MiB.")
        except Outlet as error:
            await self._tell_blocked(f"blocked: {error.message}")
            await self._refuse(send, 400, "invalid_request_error", error.message)
        except Forbidden as error:
            await self._tell_blocked(f"blocked: {error.message}")
            await self._refuse(send, 403, "permission_error", error.message)
        except Invalid as error:
            await self._refuse(send, 400, "invalid_request_error", error.message)
        else:
            hold = None
            if request.url.path != _COUNT_TOKENS:  # that is free of charge
                hold = self._allowance.reserve(self._estimated(asked))
                if hold is None:
                    await self._refuse(send, BUDGET_STATUS, "billing_error", _BUDGET_USED_UP)
                    return
            await self._forward(request, send, asked, hold)

    def _estimated(self, asked: ModelRequest) -> int:
        micros = estimate(
            asked.model, asked.body, max_tokens=asked.max_tokens, warm_tokens=self._warm.get(asked.model, 0)
        )
        return with_surcharge(micros, self._server.credentials.surcharge_percent)

    async def _forward(self, request: Request, send: Send, asked: ModelRequest, hold: Hold | None) -> None:
        """Sends the request on and streams the answer back, until it ends, the agent leaves or the budget does."""
        self._asked += 1
        exchange = Exchange(
            number=self._asked,
            model=asked.model,
            take=self._recorder.begin(request.url.path, asked.body) if self._recorder else None,
            surcharge_percent=self._server.credentials.surcharge_percent,
        )
        try:
            pump = asyncio.ensure_future(self._pump(request, send, asked, hold, exchange))
            gone = asyncio.ensure_future(_disconnected(request))
            try:
                await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pump.cancel()
                gone.cancel()
                await asyncio.wait({pump, gone})
            if not pump.cancelled() and (error := pump.exception()) is not None:
                raise error
        finally:
            await self._settle(hold, exchange)

    async def _pump(
        self, request: Request, send: Send, asked: ModelRequest, hold: Hold | None, exchange: Exchange
    ) -> None:
        self._active_at = self._clock()
        try:
            async with self._server.ask(request.url.path, request.url.query, request.headers.raw, asked) as response:
                exchange.answered(status=response.status_code, headers=response.headers.raw)
                head = headers_down(response.headers.raw)
                await send({"type": "http.response.start", "status": response.status_code, "headers": head})
                async for chunk in response.aiter_bytes():
                    self._active_at = self._clock()
                    exchange.feed(chunk)
                    if hold is not None and not self._allowance.grow(hold, exchange.cost()[0]):
                        await self._stop(send, hold, exchange)
                        return
                    await send(_part(chunk))
                exchange.end(Ended.WHOLE)
                self._server.judge(exchange.status, exchange.words)
                await self._settle(hold, exchange)  # before the agent learns that it may ask again
                await send(_part(b"", more=False))
        except (httpx.HTTPError, PullwrightError) as error:
            exchange.end(Ended.CUT if exchange.status else Ended.UNREACHABLE)
            if exchange.status:  # the stream broke: so does ours, by returning without its end
                return
            why = error.message if isinstance(error, PullwrightError) else type(error).__name__
            await _answer(send, 502, error_body("api_error", f"The model's server did not answer ({why})."))

    async def _stop(self, send: Send, hold: Hold, exchange: Exchange) -> None:
        """Ends an answer that the budget has no room for, in the stream's own way."""
        exchange.end(Ended.STOPPED)
        await self._settle(hold, exchange)
        goodbye = error_event("billing_error", _BUDGET_USED_UP)
        await send(_part(b"\n\n" + goodbye if exchange.inside_event else goodbye, more=False))

    async def _settle(self, hold: Hold | None, exchange: Exchange) -> None:
        """Accounts for the exchange, once."""
        if hold is None or exchange.settled:
            return
        exchange.settled = True
        entry = exchange.entry(self._clock(), reserved=hold.reserved)
        self._allowance.settle(hold, entry.micros)
        self._ledger.append(entry)
        if exchange.meter is not None and exchange.meter.seen:
            self._warm[exchange.model] = entry.tokens.prompt
        percent = self._allowance.notice()
        if percent is not None:
            await self._notify(BudgetNotice(percent=percent, text=budget_words(percent)))


def budget_words(percent: int) -> str:
    """What the agent is told when that share of its budget is gone."""
    if percent >= 99:
        return f"{percent} % of this run's budget is used. Stop now: leave the files in a working state and end."
    return (
        f"{percent} % of this run's budget is used. Wrap up: finish the change you are making, check it once, and end "
        "with a short summary."
    )


class _BodyTooLarge(Exception):
    """The body is over the API's limit."""


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _BodyTooLarge
    return bytes(body)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(_part(body, more=False))
