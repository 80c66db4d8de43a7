"""Reload the settings: read them again from flags, environment and file, and say in the log what came of it."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from daemon.errors import DaemonError
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings

_LOG = logging.getLogger(__name__)


class Reloader:
    """One reload at a time. What it counts is for the metrics."""

    def __init__(
        self, in_force: InForce, load: Callable[[], Settings], announced: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """*load* raises SettingsError as `load_settings` does. *announced* is entered while a reload is on its way."""
        self._in_force = in_force
        self._load = load
        self._announced = announced
        self._one = asyncio.Lock()
        self.succeeded = 0
        self.failed = 0
        self.is_last_good = True
        self.changed_at = time.time()
        """When settings last came into force, in Unix seconds."""

    async def reload(self) -> None:
        """Bring into force what can change live. An error is told in the log and leaves everything as it was; nothing is raised."""
        async with self._one:
            with self._announced():
                try:
                    change = self._in_force.change(await asyncio.to_thread(self._load))
                except DaemonError as error:
                    self.failed += 1
                    self.is_last_good = False
                    for line in error.message.splitlines():
                        _LOG.error("the settings are not reloaded, and those in force stay: %s", line)
                    return
            self.succeeded += 1
            self.is_last_good = True
            self.changed_at = time.time()
        _LOG.info("the settings are reloaded: %s", f"in force now: {', '.join(change.live)}" if change.live else "nothing changes")
        for key in change.waiting:
            _LOG.warning("the setting %s has changed, but waits for a restart of the daemon, which leaves trainings alone", key)
