"""sd_notify(3) in a few lines: one datagram to $NOTIFY_SOCKET. Without that variable every call does nothing."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping

_LOG = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager how we are. Never raises: a manager that does not listen must not cost a training its daemon."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An @ stands for the NUL byte of an abstract address (unix(7)); vsock, for virtual machines, is not for us.
        self._address = "\0" + address[1:] if address.startswith("@") else address if address.startswith("/") else ""
        self._watchdog_s = _watchdog_s(environ)
        self._status = ""

    @property
    def is_heard(self) -> bool:
        return bool(self._address)

    @property
    def watchdog_s(self) -> float | None:
        """After how many seconds without a sign of life the manager ends and restarts us; None: never."""
        return self._watchdog_s

    def ready(self) -> None:
        """We listen."""
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows; said again only when it has changed."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._tell(f"STATUS={line}")

    def extend(self, seconds: float) -> None:
        """We need so much longer to start or to stop (EXTEND_TIMEOUT_USEC, counted from now)."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Held while settings are read again. The stamp is what Type=notify-reload asks for (sd_notify(3), MONOTONIC_USEC)."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self.ready()

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that is stuck must not hold the loop up
                sender.connect(self._address)
                sender.send(state.encode())
        except OSError as error:
            _LOG.warning("the service manager was not told %s: %s", state.partition("=")[0], error)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """sd_watchdog_enabled(3): the period, where it is meant for this very process."""
    try:
        period_us, pid = int(environ.get("WATCHDOG_USEC", "0")), int(environ.get("WATCHDOG_PID") or os.getpid())
    except ValueError:
        return None
    return period_us / 1e6 if period_us > 0 and pid == os.getpid() else None
