"""How late the event loop is: a beat that should come every second, and by how much it missed."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from daemon.telemetry.sheet import Sheet

_BEAT_S = 1.0
_BEATS = 30


class LoopLag:
    """Keeps the last half minute: a scrape sees a hang that is over, and two scrapers take nothing from each other."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=_BEATS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        beating = asyncio.create_task(self._beat(), name="the beat of the event loop")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._lags.append(max(0.0, loop.time() - due))

    def fill(self, sheet: Sheet) -> None:
        sheet.tell("event_loop_lag_seconds", max(self._lags, default=0.0))
