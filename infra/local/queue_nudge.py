"""A doorbell between processes: "there is something new", and nothing else.

A datagram to a Unix socket beside the queue's file. Lost rings are fine: the pump looks once a second anyway.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger(__name__)


def _address(queue: Path) -> Path:
    return queue.with_name(f"{queue.name}.nudge")


class Nudger:
    """The side that rings. Never blocks, never raises; usable from any thread."""

    def __init__(self, queue: Path) -> None:
        self._address = str(_address(queue))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def nudge(self) -> None:
        with suppress(OSError):  # nobody listens, its buffer is full, or the path is too long for a socket
            self._socket.sendto(b"!", self._address)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def doorbell(queue: Path, ring: Callable[[], None]) -> Iterator[None]:
    """Calls ``ring`` in the event loop after each batch of nudges. Only for the holder of the queue's lock, because it
    takes the address over from a pump that died."""
    loop = asyncio.get_running_loop()
    address = _address(queue)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        address.unlink(missing_ok=True)
        try:
            listener.bind(str(address))
        except OSError as error:
            _log.warning("New tasks are noticed within a second, not at once: no socket at %s (%s)", address, error)

        def heard() -> None:
            with suppress(BlockingIOError):
                while listener.recv(1):
                    pass
            ring()

        loop.add_reader(listener, heard)
        try:
            yield
        finally:
            loop.remove_reader(listener)
            address.unlink(missing_ok=True)
