"""Where things can go wrong, and the choice whether they do: at each call that leaves a process, by name."""

import asyncio
from enum import StrEnum

from tests.simulation.process import Dead, current


class Fault(StrEnum):
    """``LOST``: it was done, its answer was not heard. ``HANG_*``: no answer for a minute. ``KILL_*``: the caller's process dies."""

    BEFORE = "before"
    LOST = "lost"
    HANG_BEFORE = "hang before"
    HANG_LOST = "hang lost"
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"


_NOT_DONE = {Fault.BEFORE, Fault.HANG_BEFORE, Fault.KILL_BEFORE}
_KILLS = {Fault.KILL_BEFORE, Fault.KILL_AFTER}
_HANGS = {Fault.HANG_BEFORE, Fault.HANG_LOST}


class Seeded:
    """Faults by chance, ``rate`` per call, until ``until`` seconds: after that the world is well and all must come to an end."""

    def __init__(self, random, *, rate, until, kills=0.04):
        self._random = random
        self._rate = rate
        self._until = until
        self._kills = kills

    def fault(self, point, count):
        if asyncio.get_running_loop().time() > self._until or self._random.random() >= self._rate:
            return None
        if self._random.random() < self._kills:
            return self._random.choice(sorted(_KILLS))
        return self._random.choice(sorted(set(Fault) - _KILLS))


class Planned:
    """Exactly these: {(point, how many calls of it came before): fault}."""

    def __init__(self, faults):
        self._faults = faults

    def fault(self, point, count):
        return self._faults.get((point, count))


class Edge:
    """Every call that leaves a process goes through here."""

    def __init__(self, plan, random, journal):
        self._plan = plan
        self._random = random
        self._journal = journal
        self.counts = {}

    async def call(self, point, effect, silence):
        """``effect()`` is the deed, ``silence()`` makes what a caller sees who gets no answer."""
        process = current()
        process.check()
        count = self.counts.get(point, 0)
        self.counts[point] = count + 1
        fault = self._plan.fault(point, count)
        await asyncio.sleep(self._random.random() * 0.02)
        process.check()
        if fault is not None:
            self._journal.add("fault", point=point, count=count, fault=fault, process=process.name)
        if fault in _NOT_DONE:
            await self._end(process, fault, silence)
        value = await effect()
        if fault is not None:
            await self._end(process, fault, silence)
        process.check()
        return value

    async def _end(self, process, fault, silence):
        if fault in _HANGS:
            await asyncio.sleep(self._random.uniform(20, 70))
            process.check()
        if fault in _KILLS:
            process.kill()
            raise Dead(process.name)
        raise silence()
