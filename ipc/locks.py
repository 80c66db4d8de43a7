"""Locks that the kernel frees when their holder dies (flock(2))."""

import fcntl
import os
import time
from pathlib import Path

from ipc.errors import LockHeldError

_PROBE_GRACE_S = 0.5


class FileLock:
    """An exclusive flock on *path*, held from `acquire` to `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock, or raise `LockHeldError`.

        A probe by `is_locked` holds it for microseconds: a refusal is final only after half a second.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        deadline = time.monotonic() + _PROBE_GRACE_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise LockHeldError(str(self._path)) from None
                time.sleep(0.01)
            else:
                self._fd = fd
                return

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock at *path*; a missing file is not locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)
