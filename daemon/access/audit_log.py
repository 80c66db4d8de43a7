"""`audit.jsonl`: who changed what, a line each, written by a thread of its own. What is worth a line is `daemon/api/audit.py`.

A disk that is full or gone costs lines, never a call: the log says when that begins, and the audit log itself how many it has lost.
"""

import asyncio
import contextlib
import json
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from ipc.atomic import write_all

_LOG = logging.getLogger(__name__)
MAX_BYTES = 16 << 20
KEPT = 5
"""Older files, `audit.jsonl.1` the youngest of them."""
_WAITING = 10_000
_AT_ONCE = 512


class AuditLog:
    """Lines wait in memory, ten thousand at most, until the thread has written them."""

    def __init__(self, path: Path, now: Callable[[], float], *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        """*now* is the wall clock."""
        self._path = path
        self._now = now
        self._max_bytes = max_bytes
        self._kept = kept
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._is_failing = False
        self._is_ending = False
        self._changed = threading.Condition()
        self._fd = -1

    def put(self, event: str, record: Mapping[str, object]) -> None:
        """Have a line written. Returns at once and raises nothing."""
        line = json.dumps({"v": 1, "ts": round(self._now(), 3), "event": event, **record}, default=str).encode() + b"\n"
        with self._changed:
            if len(self._waiting) < _WAITING:
                self._waiting.append(line)
            else:
                self._lost += 1
            self._changed.notify()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Meanwhile lines are written; at the end, those that still wait."""
        thread = threading.Thread(target=self._run, name="audit log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._is_ending = True
                self._changed.notify()
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_ending:
                    self._changed.wait()
                lines = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            if not lines:
                break
            self._write(lines)
        if self._fd >= 0:
            os.close(self._fd)

    def _write(self, lines: list[bytes]) -> None:
        with self._changed:
            lost = self._lost
        try:
            data = b"".join([*([self._loss(lost)] if lost else []), *lines])
            self._open(len(data))
            self._append(data)
        except OSError as error:
            with self._changed:
                self._lost += len(lines)
            if not self._is_failing:
                self._is_failing = True
                _LOG.error("the audit log %s cannot be written (%s): calls go on, and are not in it", self._path, error.strerror or error)
            return
        with self._changed:
            self._lost -= lost
        if self._is_failing:
            self._is_failing = False
            _LOG.warning("the audit log %s is written again; %d lines are lost", self._path, lost)

    def _loss(self, count: int) -> bytes:
        return json.dumps({"v": 1, "ts": round(self._now(), 3), "event": "audit.lost", "count": count}).encode() + b"\n"

    def _open(self, coming: int) -> None:
        """Have the file at our path open, which an administrator may have moved, with room for *coming* bytes."""
        if self._fd >= 0 and not self._is_ours():
            self._close()
        if self._fd < 0:
            self._fd = self._opened()
        size = os.fstat(self._fd).st_size
        if size and size + coming > self._max_bytes:
            self._close()
            self._rotate()
            self._fd = self._opened()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _is_ours(self) -> bool:
        try:
            there, held = self._path.lstat(), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{self._path} is not a regular file")
            if status.st_mode & 0o077:
                os.fchmod(fd, 0o600)
            if status.st_size and os.pread(fd, 1, status.st_size - 1) != b"\n":
                write_all(fd, b"\n")  # a line that a power cut has torn must not swallow the next one
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            younger = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                younger.replace(older)

    def _append(self, data: bytes) -> None:
        """All of *data*, or none of it: what a full disk took of it is cut off again."""
        size = os.fstat(self._fd).st_size
        try:
            write_all(self._fd, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)
            raise
        os.fdatasync(self._fd)
