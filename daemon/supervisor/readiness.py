"""Whether this daemon can do its work: what GET /ready answers. Looks, and changes nothing."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.runs.spot import Spot
from daemon.supervisor.supervisor import Supervisor

_LOG = logging.getLogger(__name__)
_WRITE_S = 5.0
_FRESH_S = 5.0
_STUCK_S = 30.0
_LOOK_S = 30.0


@dataclass(frozen=True)
class Failed:
    """A check that failed. *message* is for everybody: it names no path."""

    check: str
    message: str


class Readiness:
    """Anybody may ask, as often as he likes: the disk is asked every five seconds at most, and what a change means is logged once."""

    CHECKS = ("runs", "state_directory", "journals", "disk")

    def __init__(self, supervisor: Supervisor, state_dir: Path, now: Callable[[], float]) -> None:
        """*now* is a monotonic clock."""
        self._supervisor = supervisor
        self._state_dir = state_dir
        self._now = now
        self._one = asyncio.Lock()
        self._looked: float | None = None
        self._behind: dict[str, tuple[Spot, float]] = {}
        self.failed: tuple[Failed, ...] = (Failed("runs", "the daemon has only just begun"),)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look every half minute too, so that the log and the metric know also where nobody asks."""
        looking = asyncio.create_task(self._look_on(), name="the readiness")
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait({looking})

    async def _look_on(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> tuple[Failed, ...]:
        """The checks that fail; none: ready."""
        async with self._one:
            if not self._supervisor.is_at_work:
                self._tell((Failed("runs", "the runs of an earlier daemon are not adopted yet, or this one leaves"),))
                self._looked = None
            elif self._looked is None or self._now() - self._looked >= _FRESH_S:
                found = (await self._state_directory(), self._journals(), self._disk())
                self._tell(tuple(failed for failed in found if failed is not None))
                self._looked = self._now()
            return self.failed

    def _tell(self, failed: tuple[Failed, ...]) -> None:
        before, self.failed = self.failed, failed
        for one in failed:
            if one.check not in {other.check for other in before}:
                _LOG.warning("not ready: %s: %s", one.check, one.message)
        if before and not failed and self._looked is not None:
            _LOG.info("ready again")

    async def _state_directory(self) -> Failed | None:
        try:
            async with asyncio.timeout(_WRITE_S):
                await asyncio.to_thread(_write, self._state_dir / ".ready")
        except TimeoutError:
            return Failed("state_directory", f"nothing could be written there within {_WRITE_S:g} s")
        except OSError as error:
            return Failed("state_directory", f"nothing can be written there: {error.strerror}")
        return None

    def _journals(self) -> Failed | None:
        """A journal that grows while nothing of it is taken in."""
        now, before = self._now(), self._behind
        self._behind = {}
        for run in self._supervisor.runs():
            if run.view.is_live and run.history.unread_bytes() > 0:
                spot, since = before.get(run.run_id, (run.history.spot, now))
                self._behind[run.run_id] = (spot, since) if spot == run.history.spot else (run.history.spot, now)
        stuck = sorted(run_id for run_id, (_, since) in self._behind.items() if now - since >= _STUCK_S)
        return Failed("journals", f"events of {', '.join(stuck)} have not been taken in for {_STUCK_S:g} s") if stuck else None

    def _disk(self) -> Failed | None:
        level = self._supervisor.disk_level
        return None if level == "ok" else Failed("disk", f"a file system is below its mark: {level}")


def _write(path: Path) -> None:
    """A byte, on its way to the disk; a full file system refuses it, and so does one that has become read-only."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"1")
        os.fdatasync(fd)
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
