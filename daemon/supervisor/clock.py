"""The machine's clocks, as the supervisor asks for them; tests bring their own and sleep through none."""

import asyncio
import time


class Clock:
    """*now* is for people and records and may jump; *monotonic* is for durations, and stands still while the machine is suspended."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
