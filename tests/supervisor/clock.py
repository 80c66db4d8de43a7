"""A clock that stands still until a test moves it."""

import asyncio
import time

from daemon.supervisor.clock import Clock


class StillClock(Clock):
    """Sleepers wake when `advance` has passed their time, and at no other."""

    def __init__(self) -> None:
        self._now = time.time()  # the journals of real runners are by the real time
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._monotonic + seconds, seconds, woken)
        self._sleepers.append(entry)
        self._changed.set()
        try:
            await woken
        finally:
            self._sleepers.remove(entry)

    def advance(self, seconds: float) -> None:
        """Both clocks go on."""
        self._now += seconds
        self._monotonic += seconds
        for until, _, woken in self._sleepers:
            if until <= self._monotonic and not woken.done():
                woken.set_result(None)

    def set_wall(self, now: float) -> None:
        """Somebody sets the time of day."""
        self._now = now

    async def wait_sleeper(self, at_least: float) -> float:
        """The seconds that somebody has asked to sleep for, *at_least* so many: as soon as somebody does."""
        async with asyncio.timeout(30):
            while True:
                self._changed.clear()
                found = [asked for _, asked, _ in self._sleepers if asked >= at_least]
                if found:
                    return found[0]
                await self._changed.wait()
