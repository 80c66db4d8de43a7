"""What goes to the log, and what would drown it. Set up once, by `serve`."""

import logging
import sys
import time
from collections.abc import Callable

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


def set_up(level: str) -> None:
    """Log to stderr from *level* on, as the settings name it."""
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # at info it says each change of each samples folder
    logging.getLogger("asyncio").addFilter(AcceptFailures())
