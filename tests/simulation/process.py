"""Processes that can be killed: what a dead one does has no effect any more, however its clean-up is written."""

import asyncio
import contextvars

_CURRENT = contextvars.ContextVar("process", default=None)


class Dead(BaseException):
    """Raised at each edge of a process that was killed."""


class Process:
    """``name`` is for the journal. Its tasks, and theirs, die with it."""

    def __init__(self, name):
        self.name = name
        self.alive = True
        self._tasks = {}  # in the order of their making: a set would cancel them by address

    def start(self, coroutine):
        """A task that runs in this process."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def kill(self):
        self.alive = False
        for task in list(self._tasks):
            task.cancel()

    def check(self):
        if not self.alive:
            raise Dead(self.name)


def task_factory(loop, coroutine, context=None):
    """Every task belongs to the process that made it."""
    task = asyncio.Task(coroutine, loop=loop, context=context)
    process = (context or contextvars.copy_context()).get(_CURRENT)
    if process is not None:
        process._tasks[task] = None
        task.add_done_callback(lambda done: process._tasks.pop(done, None))
    return task


def current():
    return _CURRENT.get()
