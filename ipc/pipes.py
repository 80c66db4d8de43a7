"""The FIFOs between daemon and runner, and lines out of any pipe."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ipc.errors import CommandError, MalformedError


def open_fifo(path: Path) -> int:
    """Open the FIFO at *path* for reading and writing, non-blocking; the caller closes the descriptor.

    O_RDWR on both sides (fifo(7), Linux): no open waits for a peer, and a reader never spins on the end of file after one.

    Raises:
        MalformedError: there is something there that is not a FIFO.
        OSError: it cannot be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise MalformedError(f"{path} is not a FIFO")
    return fd


def send_line(path: Path, line: bytes) -> None:
    """Write one line of at most PIPE_BUF bytes into the FIFO at *path*: whole or not at all (pipe(7)).

    Raises:
        CommandError: the pipe is full: its reader has not read for a long time.
        OSError, MalformedError: as `open_fifo`.
    """
    fd = open_fifo(path)
    try:
        os.write(fd, line)
    except BlockingIOError as error:
        raise CommandError(f"{path} is full: its reader does not read; is the process stopped?") from error
    finally:
        os.close(fd)


def wake(fd: int) -> None:
    """Put a byte into the wake pipe; a full pipe has woken its reader already."""
    try:
        os.write(fd, b"!")
    except BlockingIOError:
        pass


class LineBuffer:
    """Cuts what a pipe delivers into lines. A line longer than *limit* bytes is dropped and counted in `oversized`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending = bytearray()
        self._skipping = False
        self.oversized = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that *data* completes, without their newline. To be consumed before the next call."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._extend(data[start:end])
            start = end + 1
            if self._skipping:
                self._skipping = False
            elif self._pending:
                yield bytes(self._pending)
            self._pending.clear()
        self._extend(data[start:])

    def _extend(self, data: bytes) -> None:
        if self._skipping:
            return
        self._pending += data
        if len(self._pending) > self._limit:
            self._pending.clear()
            self._skipping = True
            self.oversized += 1
