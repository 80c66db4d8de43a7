"""Read the console of an attempt: the last lines of it, and on from there while it grows and is rotated.

A console is a chain of files: `console.log.1`, `console.log`, and `console.orphan.log` where the trainer has outlived its runner.
Each is closed for good before the next one begins.
"""

import codecs
import os
import stat
import threading
from collections import deque
from pathlib import Path

from daemon.files.reading import BLOCK_BYTES, open_regular, tail_start
from ipc.run_directory import AttemptDirectory

_GAP = b"[onetrainerd: lines may be missing here: the console was rotated faster than it was read]\n"
_Key = tuple[int, int]


class _File:
    """One open file of the chain; its inode stays taken while it is open, so that *key* cannot come to mean another."""

    def __init__(self, fd: int) -> None:
        status = os.fstat(fd)
        self.fd = fd
        self.key = _key_of(status)
        self.size = status.st_size
        self.offset = 0


class ConsoleReader:
    """Gives the console as UTF-8, in pieces: what is not UTF-8, and NUL, is U+FFFD. Each line once, across rotation.

    Every method blocks on the disk; `read` and `close` may come from different threads.
    """

    def __init__(self, attempt: AttemptDirectory, tail: int, *, follow: bool) -> None:
        """Begin at the last *tail* lines, or with 0 at the first that is kept. Without *follow* what is written from now on is not read."""
        self._attempt = attempt
        self._follow = follow
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_line_begun = False
        self._current: _File | None = None
        self._next = deque(_chain(attempt))
        self._has_gap = False
        self._is_closed = False
        if tail:
            self._skip_to(tail)

    def read(self) -> bytes:
        """What comes next, some 64 KB; empty at the present end."""
        with self._lock:
            between = b""
            while not self._is_closed:
                if self._current is not None and (data := self._read_current()):
                    return between + self._text(data)
                # Nothing more, and whatever follows this file was there before that was seen: it will not grow any more.
                if not self._next and not (self._follow and self._look_on()):
                    break
                between += self._switch()
            return between

    def finish(self) -> bytes:
        """The console has ended: what is left of it, and its files closed."""
        with self._lock:
            rest = self._end_of_file()
        self.close()
        return rest

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for file in (*([self._current] if self._current else []), *self._next):
                os.close(file.fd)
            self._current = None
            self._next.clear()

    def _skip_to(self, tail: int) -> None:
        """Leave out what comes before the last *tail* lines of the chain."""
        for file in reversed(self._next):
            if tail > 0:
                file.offset, found = tail_start(file.fd, file.size, tail)
                tail -= found
            else:
                file.offset = file.size

    def _read_current(self) -> bytes:
        file = self._current
        assert file is not None
        room = BLOCK_BYTES if self._follow else min(BLOCK_BYTES, file.size - file.offset)
        data = os.pread(file.fd, room, file.offset) if room > 0 else b""
        file.offset += len(data)
        return data

    def _look_on(self) -> bool:
        """Find what comes behind the present file; whether there is something."""
        chain = _chain(self._attempt)
        keys = [file.key for file in chain]
        if self._current is not None and self._current.key in keys:
            behind = keys.index(self._current.key) + 1
        else:
            behind, self._has_gap = 0, self._current is not None and bool(chain)
        for file in chain[:behind]:
            os.close(file.fd)
        self._next.extend(chain[behind:])
        return bool(self._next)

    def _switch(self) -> bytes:
        """Go on to the next file; the text that stands between the two."""
        between = self._end_of_file()
        if self._has_gap:
            between, self._has_gap = between + _GAP, False
        if self._current is not None:
            os.close(self._current.fd)
        self._current = self._next.popleft()
        return between

    def _text(self, data: bytes) -> bytes:
        self._is_line_begun = not data.endswith(b"\n")
        return self._decoder.decode(data).replace("\0", "\ufffd").encode()

    def _end_of_file(self) -> bytes:
        rest = self._decoder.decode(b"", final=True).encode()
        self._decoder.reset()
        ending, self._is_line_begun = (b"\n" if self._is_line_begun else b""), False
        return rest + ending


def _chain(attempt: AttemptDirectory) -> list[_File]:
    """The files of the console that are there, in order, opened so that none was rotated away in between."""
    log = attempt.console
    for _ in range(10):
        newest = open_regular(log)
        found = [open_regular(log.with_name(log.name + ".1")), newest, open_regular(attempt.orphan_console)]
        chain = [_File(fd) for fd in found if fd is not None]
        if _key(log) == (None if newest is None else _key_of(os.fstat(newest))):
            break
        for file in chain:
            os.close(file.fd)
        chain = []
    return chain


def _key(path: Path) -> _Key | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return _key_of(status) if stat.S_ISREG(status.st_mode) else None


def _key_of(status: os.stat_result) -> _Key:
    return status.st_dev, status.st_ino
