"""What goes to the log, in which form, and what would drown it. Set up by `serve`, and again by a reload."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping

from daemon.log_lines import JsonLines, TextLines
from daemon.settings.model import Log

_ACCEPT_FAILED = "socket.accept() out of system resource"
_ONCE_IN_S = 60.0


class AcceptFailures(logging.Filter):
    """Lets one line a minute through of what asyncio says when it has no descriptor for a new connection: it says it thousands of times."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._told: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_ACCEPT_FAILED):
            return True
        now = self._now()
        if self._told is not None and now - self._told < _ONCE_IN_S:
            return False
        self._told = now
        return True


class Tally(logging.Handler):
    """Counts the records of warning and above, by level. Writes nothing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts = {"warning": 0, "error": 0, "critical": 0}

    def emit(self, record: logging.LogRecord) -> None:
        level = "critical" if record.levelno >= logging.CRITICAL else "error" if record.levelno >= logging.ERROR else "warning"
        self.counts[level] += 1


class Logs:
    """The log of this process. *request_id* tells which request a record is about, if any."""

    def __init__(self, request_id: Callable[[], str | None]) -> None:
        self._request_id = request_id
        self.tally = Tally()

    def set_up(self, settings: Log) -> None:
        """Log to stderr as *settings* say; in the place of what was set up before."""
        for_journal = is_journal(os.environ)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter((JsonLines if settings.format == "json" else TextLines)(self._request_id, for_journal=for_journal))
        logging.basicConfig(level=settings.level.upper(), handlers=[handler, self.tally], force=True)
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # at info it says each change of each samples folder
        of_asyncio = logging.getLogger("asyncio")
        if not any(isinstance(one, AcceptFailures) for one in of_asyncio.filters):
            of_asyncio.addFilter(AcceptFailures())


def is_journal(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Whether what is written to *fd* goes to journald: systemd.exec(5), $JOURNAL_STREAM."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"
