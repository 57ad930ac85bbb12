"""An event loop whose time is a number: it jumps to the next thing that is due, and nothing in it ever waits.

One thread, no sockets, no executor (what would go to a thread is done at once), so that a seed fixes the whole schedule.
"""

import asyncio
import selectors


class Deadlock(Exception):
    """Everything waits and nothing is due."""


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self):
        return self.now

    def run_in_executor(self, executor, function, *arguments):
        future = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if timeout is None:
            raise Deadlock
        self._loop.now += max(0.0, timeout)
        return []
