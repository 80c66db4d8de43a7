"""Runs that wait for their restart: their time waited out, their newest backup found, the next attempt begun.

Whether and when is decided in `daemon/runs/restart.py`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from daemon.errors import DaemonError
from daemon.runs.restart import remaining_s
from daemon.runs.states import RunState
from daemon.supervisor.clock import Clock
from daemon.supervisor.continuing import backup_to_continue
from daemon.supervisor.live import LiveRun

_LOG = logging.getLogger(__name__)
_RETRY_S = 60.0


class Restarts:
    """The waits of all runs that are `waiting_restart`. Their tasks belong to whoever gives *spawn*."""

    def __init__(
        self,
        begin: Callable[[LiveRun, str | None], object],
        spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
        clock: Clock,
    ) -> None:
        """*begin* begins the next attempt from a backup, and raises a DaemonError where that cannot be put on disk."""
        self._begin = begin
        self._spawn = spawn
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def expect(self, run: LiveRun) -> None:
        """*run* is to begin again when its time has come."""
        self._tasks[run.run_id] = self._spawn(self._restart(run), f"restart of {run.run_id}")

    def cancel(self, run: LiveRun) -> None:
        if task := self._tasks.pop(run.run_id, None):
            task.cancel()

    async def _restart(self, run: LiveRun) -> None:
        """From the newest backup of its own. A start that cannot be recorded is tried again."""
        wait_s = remaining_s(run.view.restart, run.view.restart_at or 0.0, self._clock.now())
        while True:
            await self._clock.sleep(wait_s)
            backup = await asyncio.to_thread(backup_to_continue, run.view)
            if run.view.state is not RunState.WAITING_RESTART:
                return
            try:
                self._begin(run, backup)
                return
            except DaemonError as error:
                _LOG.error("run %s could not be restarted, which is tried again in %g s: %s", run.run_id, _RETRY_S, error)
                wait_s = _RETRY_S
