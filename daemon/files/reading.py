"""Open and read files that may be anything by now, forwards in blocks and backwards by lines. Everything here blocks on the disk."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_BYTES = 64 << 10


def open_regular(path: Path) -> int | None:
    """A descriptor of the regular file *path*; None where there is none: a link, a pipe and a device count as nothing."""
    try:
        # O_NONBLOCK: open(2) of a FIFO without a writer would wait for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def read_object(path: Path, limit_bytes: int) -> dict[str, Any] | None:
    """The JSON object in the regular file *path*; None for anything else, more than *limit_bytes* included."""
    fd = open_regular(path)
    if fd is None:
        return None
    try:
        with os.fdopen(fd, "rb") as file:
            data = file.read(limit_bytes + 1)
        value = json.loads(data) if len(data) <= limit_bytes else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def lines_backwards(fd: int, size: int, needle: bytes) -> Iterator[bytes]:
    """The whole lines among the first *size* bytes that hold *needle*, last one first, without their newline.

    Blocks without *needle* are passed over as they are, so that a journal of 300 MB takes half a second.
    """
    rest = b""  # the beginning of a line whose end has been read
    seen_end = False
    while size > 0:
        start = max(0, size - BLOCK_BYTES * 4)
        data = os.pread(fd, size - start, start) + rest
        size = start
        if start:
            cut = data.find(b"\n")
            if cut < 0:
                rest = data
                continue
            rest, data = data[: cut + 1], data[cut + 1 :]
        else:
            rest = b""
        if not seen_end:
            data = data[: data.rfind(b"\n") + 1]  # what follows the last newline is no whole line yet
            seen_end = True
        if needle in data:
            yield from (line for line in reversed(data.split(b"\n")) if needle in line)


def tail_start(fd: int, size: int, lines: int) -> tuple[int, int]:
    """Where the last *lines* lines of the first *size* bytes begin, and how many there are at most *lines*; an unfinished one counts."""
    found = 0
    end = size
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        block = os.pread(fd, end - start, start)
        at = len(block)
        if end == size:
            at -= block.endswith(b"\n")  # it ends the last line and begins none
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == lines:
                return start + at + 1, lines
        end = start
    return 0, found + (size > 0)
