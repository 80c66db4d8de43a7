"""A run's console as one client reads it: attempt after attempt, until there will be no more."""

import asyncio

from daemon.errors import NotFoundError
from daemon.files.console import ConsoleReader
from daemon.runs.states import LIVE, RunState
from daemon.supervisor.live import LiveRun

_WITH_WRITER = LIVE | {RunState.LOST}
"""A lost run's trainer may live on, until the run is settled."""


class ConsoleFeed:
    """Gives the last lines of an attempt's console, and with *follow* goes on as it grows. `close` it."""

    def __init__(self, run: LiveRun, *, tail: int, attempt: int | None, follow: bool) -> None:
        """*attempt* None: the newest one, and those after it.

        Raises:
            NotFoundError: the run has no such attempt (code `no_attempt`).
        """
        if attempt is not None and not 1 <= attempt <= run.view.attempt:
            raise NotFoundError(
                f"run {run.run_id} has no attempt {attempt}; it has had {run.view.attempt}", code="no_attempt", run_id=run.run_id
            )
        self._run = run
        self._only = attempt
        self._number = attempt or run.view.attempt
        self._tail = tail
        self._follow = follow
        self._reader: ConsoleReader | None = None
        self._is_ended = False

    @property
    def is_growing(self) -> bool:
        """Whether there is a process that may write more, which no event of the run tells of."""
        run = self._run
        return not run.is_settled and (run.view.state in _WITH_WRITER or run.orphan is not None)

    async def next(self) -> bytes | None:
        """The next piece, some 64 KB; empty when there is none at present; None when there will be no more."""
        if self._is_ended:
            return None
        is_over = self._is_over()  # asked before reading: so what is read now is all that there is
        self._number = self._number or self._run.view.attempt
        if self._number:
            if self._reader is None:
                attempt = self._run.directory.attempt(self._number)
                self._reader = await asyncio.to_thread(ConsoleReader, attempt, self._tail, follow=self._follow)
            if piece := await asyncio.to_thread(self._reader.read):
                return piece
        if not is_over:
            return b""
        rest = self._reader.finish() if self._reader else b""
        self._reader = None
        if self._follow and self._only is None and self._run.view.attempt > self._number:
            self._number, self._tail = self._number + 1, 0
            return rest + b"[onetrainerd: attempt %d]\n" % self._number
        self._is_ended = True
        return rest or None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _is_over(self) -> bool:
        """Whether the attempt that is being read writes no more; the last one only with its run, which may still go on."""
        run = self._run
        if not self._follow or run.is_settled or 0 < self._number < run.view.attempt:
            return True
        return self._only is not None and not self.is_growing
