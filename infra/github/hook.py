"""The App's webhook (``infra.core.hook.Hook``). https://docs.github.com/en/rest/apps/webhooks"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from infra.core.hook import Sent
from infra.github.pace import Pace
from infra.github.protocol import Call
from infra.github.shapes import Aware, Shape, instant
from infra.github.transport import Transport

_PAGES = 50


class SentShape(Shape, frozen=True, kw_only=True):
    """``status_code`` 0 where no answer came."""

    id: int
    guid: str
    event: str
    status_code: int
    delivered_at: Aware
    action: str | None = None

    def value(self) -> Sent:
        return Sent(
            id=self.id,
            guid=self.guid,
            event=self.event,
            action=self.action or "",
            status=self.status_code,
            at=instant(self.delivered_at),
        )


_sent = msgspec.json.Decoder(tuple[SentShape, ...]).decode


def sent() -> Call[tuple[Sent, ...]]:
    return Call(
        method="GET",
        path="/app/hook/deliveries",
        params={"per_page": "100"},
        about="the deliveries of the App's webhook",
        read=lambda body: tuple(shape.value() for shape in _sent(body)),
    )


def send_again(number: int) -> Call[None]:
    return Call(
        method="POST",
        path=f"/app/hook/deliveries/{int(number)}/attempts",
        about=f"another attempt at delivery {number}",
        read=lambda _: None,
        repeatable=True,
    )


class GitHubHook:
    """``token``: a fresh JWT of the App."""

    def __init__(self, *, transport: Transport, token: Callable[[], str], pace: Pace) -> None:
        self._transport = transport
        self._token = token
        self._pace = pace

    async def sent(self) -> AsyncIterator[Sent]:
        pages = self._transport.pages(sent(), self._token(), self._pace, most=_PAGES)
        async for page in pages:
            for each in page:
                yield each

    async def send_again(self, sent: int) -> None:
        await self._transport.send(send_again(sent), self._token(), self._pace)
