"""The sign of life: a task on the event loop, so that it beats only while the loop turns."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from daemon.service.notify import Notifier

_UNWATCHED_S = 10.0


@asynccontextmanager
async def beating(notifier: Notifier, status: Callable[[], str]) -> AsyncIterator[None]:
    """While it is held the service manager hears that we live, three times in each watchdog period, and what *status* says.

    Whatever holds up the loop for the period, a deadlock or a disk that does not answer, ends in the manager's SIGABRT and a restart.
    """
    if not notifier.is_heard:
        yield
        return
    task = asyncio.create_task(_beat(notifier, status), name="sign of life")
    try:
        yield
    finally:
        task.cancel()


async def _beat(notifier: Notifier, status: Callable[[], str]) -> None:
    period_s = notifier.watchdog_s / 3 if notifier.watchdog_s else _UNWATCHED_S
    while True:
        if notifier.watchdog_s:
            notifier.alive()
        notifier.status(status())
        await asyncio.sleep(period_s)
