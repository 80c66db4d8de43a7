"""Append-only journals: numbered JSON lines in segments. One writer, any number of readers, all at once.

A reader consumes only through a newline, so it never sees half a record; a writer that opens a journal after a crash cuts a torn
tail off. A record's number has no gap and no repeat; a reader that meets a gap (a segment was taken away) says so and goes on.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ipc import PROTOCOL_VERSION
from ipc.atomic import open_regular, sync_folder
from ipc.errors import JournalError, MalformedError
from ipc.messages import decode_object, encode

SEGMENT_BYTES = 64 << 20
_CHUNK_BYTES = 256 << 10


class JournalWriter:
    """Appends records and numbers them. Not thread-safe: it has one owner."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open the journal in *folder* (which is made if need be), behind its last whole record.

        Raises:
            JournalError: the last segment holds no sense: two journals must not be mixed.
            OSError: no right or no room.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        segments = _segments(folder)
        first = segments[-1] if segments else 1
        self._fd = os.open(folder / _segment_name(first), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size, self.seq = _recover(self._fd, first)
        sync_folder(folder)

    def append(self, record: Mapping[str, Any]) -> "dict[str, Any]":
        """Append *record* as the next number and return it as it stands: with `v`, `seq` and `ts` (kept where it has one).

        Raises:
            OSError: nothing was appended (on a full disk a short write is taken back); the same record may be tried again.
        """
        numbered = {"v": PROTOCOL_VERSION, "seq": self.seq + 1, "ts": round(time.time(), 4), **record}
        line = encode(numbered)
        if self._size and self._size + len(line) > self._segment_bytes:
            self._next_segment()
        try:
            written = os.write(self._fd, line)
        except OSError:
            self._cut_back()
            raise
        if written < len(line):
            self._cut_back()
            raise OSError(28, f"{self._folder}: no room for {len(line)} bytes")
        self._size += len(line)
        self.seq += 1
        return numbered

    def sync(self) -> None:
        """fsync what was appended. May be called from another thread than `append`."""
        fd = self._fd
        with contextlib.suppress(ValueError):
            os.fdatasync(fd)

    def close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _cut_back(self) -> None:
        os.ftruncate(self._fd, self._size)
        os.lseek(self._fd, self._size, os.SEEK_SET)

    def _next_segment(self) -> None:
        os.fdatasync(self._fd)
        fd = os.open(self._folder / _segment_name(self.seq + 1), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.dup2(fd, self._fd, inheritable=False)  # the number stays, so that a sync on its way hits an open file
        os.close(fd)
        sync_folder(self._folder)
        self._size = 0


class Gap(NamedTuple):
    """Records that are missing: from *first* to *last*, both included."""

    first: int
    last: int


class JournalReader:
    """Reads a journal on from a place. Keeps its descriptor open between calls; `close` it.

    It keeps nothing of a line that is not whole yet: its writer may cut that off (a full disk, a crash) and write another there.
    A writer numbers without a gap. So a number that does not follow on its neighbour's is damaged, unless the neighbour is; trusted, a
    flipped digit would hide all the records up to it.
    """

    def __init__(
        self,
        folder: Path,
        after_seq: int = 0,
        hint: "tuple[int, int] | None" = None,
        loads: "Callable[[bytes], dict[str, Any]]" = decode_object,
    ) -> None:
        """Start behind record *after_seq*. *hint* is a (segment, offset) that `position` once gave at or before it; it is not taken where
        the segment has been cut off in front of it."""
        self._folder = folder
        self._loads = loads
        self._fd = -1
        self._segment = 0
        self._offset = 0
        self._line_seq: int | None = None  # of the last good line before the offset; None where that is not known
        self._is_after_bad_line = False
        self.seq = after_seq
        self.bad_lines = 0
        self.gaps: list[Gap] = []
        if hint is not None:
            self._segment, self._offset = hint

    @property
    def position(self) -> "tuple[int, int]":
        """(first seq of the segment, offset in it) behind the last record given out."""
        return self._segment, self._offset

    def read(self, max_bytes: int = _CHUNK_BYTES) -> "list[dict[str, Any]]":
        """The next whole records, oldest first; empty at the present end. One call reads at most about *max_bytes*."""
        if self._fd < 0 and not self._open():
            return []
        records: list[dict[str, Any]] = []
        while not records:
            data = os.pread(self._fd, max_bytes, self._offset)
            end = data.rfind(b"\n")
            if end >= 0:
                self._offset += end + 1
                for line in data[:end].split(b"\n"):
                    self._take(line, records)
            elif len(data) == max_bytes:
                max_bytes *= 2  # a line longer than that
            elif not self._advance(self._offset + len(data)):
                break
        return records

    def unread_bytes(self) -> int:
        """How much lies behind what was given out, in whole lines or not; 0 where the segments cannot be looked at."""
        behind = -self._offset
        for first in _segments(self._folder):
            if first >= self._segment:
                with contextlib.suppress(OSError):
                    behind += os.stat(self._folder / _segment_name(first)).st_size
        return max(0, behind)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self, line: bytes, records: "list[dict[str, Any]]") -> None:
        try:
            record = self._loads(line)
            seq = record["seq"]
            self._check_number(seq)
        except (MalformedError, ValueError, KeyError, TypeError):
            self.bad_lines += 1
            self._is_after_bad_line = True
            return
        self._line_seq, self._is_after_bad_line = seq, False
        if seq <= self.seq:
            return
        if seq > self.seq + 1:
            self.gaps.append(Gap(self.seq + 1, seq - 1))
        self.seq = seq
        records.append(record)

    def _check_number(self, seq: Any) -> None:
        """Raise ValueError for a number that cannot stand here."""
        if type(seq) is not int:
            raise ValueError(f"{seq!r} is no number")
        if self._line_seq is not None and seq != self._line_seq + 1 and not (self._is_after_bad_line and seq > self._line_seq):
            raise ValueError(f"{seq} does not follow on {self._line_seq}")

    def _open(self) -> bool:
        """Open the segment that the next record is in: the last one that begins at or before it."""
        segments = _segments(self._folder)
        if not segments:
            return False
        wanted = max((first for first in segments if first <= self.seq + 1), default=segments[0])
        if wanted != self._segment:
            self._offset, self._line_seq = 0, wanted - 1
        self._switch(wanted)
        if self._offset and os.pread(self._fd, 1, self._offset - 1) != b"\n":
            self._offset, self._line_seq = 0, wanted - 1
        return True

    def _advance(self, seen: int) -> bool:
        """At the end of a segment, *seen* bytes into it: go to the next one if there is one, over a gap if need be."""
        later = [first for first in _segments(self._folder) if first > self._segment]
        if not later:
            return False
        # The writer closed this segment before it began the next; what it wrote in between is read first.
        if os.fstat(self._fd).st_size > seen:
            return True
        self._offset, self._line_seq, self._is_after_bad_line = 0, min(later) - 1, False
        self._switch(min(later))
        return True

    def _switch(self, first: int) -> None:
        self.close()
        self._segment = first
        self._fd = open_regular(self._folder / _segment_name(first))


def _segment_name(first_seq: int) -> str:
    return f"{first_seq:012d}.jsonl"


def _segments(folder: Path) -> "list[int]":
    """The first record numbers of the segments in *folder*, in order."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name[:12]) for name in names if len(name) == 18 and name.endswith(".jsonl") and name[:12].isdecimal())


def _recover(fd: int, first_seq: int) -> "tuple[int, int]":
    """(size, last seq) of the segment *fd* after cutting off what its writer did not finish; *fd* is left at the end."""
    size = os.fstat(fd).st_size
    whole = size
    tail = b""
    while whole and b"\n" not in tail:  # look for the last newline from the end
        start = max(0, whole - _CHUNK_BYTES)
        tail = os.pread(fd, whole - start, start)
        whole = start + tail.rfind(b"\n") + 1 if b"\n" in tail else start
    if whole < size:
        os.ftruncate(fd, whole)
    os.lseek(fd, whole, os.SEEK_SET)
    return whole, _last_seq(fd, whole, first_seq)


def _last_seq(fd: int, size: int, first_seq: int) -> int:
    """The seq of the last record that parses, going backwards; a segment without one has numbered nothing."""
    end = size
    while end > 0:
        start = end - 1
        while start > 0 and os.pread(fd, 1, start - 1) != b"\n":
            block = max(0, start - 4096)
            cut = os.pread(fd, start - block, block).rfind(b"\n")
            start = block + cut + 1 if cut >= 0 else block
        try:
            seq = json.loads(os.pread(fd, end - start, start))["seq"]
            if isinstance(seq, int):
                return seq
        except (ValueError, KeyError, TypeError):
            pass  # a flipped byte: its number is known only from its neighbours
        end = start
    if size:
        raise JournalError(f"no line of the segment that begins at {first_seq} is a record; move it away to start afresh")
    return first_seq - 1
