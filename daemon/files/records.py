"""Find the records of some kinds in a journal, newest first, without reading what came before those that are wanted."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from daemon.files.reading import lines_backwards, open_regular

_SEGMENTS = "[0-9]" * 12 + ".jsonl"
"""PROTOCOL.md: segments are named after their first record, with zeros in front, so that they sort."""


def newest_records(journal: Path, *kinds: str, mark: str | None = None) -> Iterator[dict[str, Any]]:
    """The records of the types *kinds*, last one first. Bad lines and a torn tail are passed over; a missing journal has none. Blocks.

    *mark* is a string, of a key or a value, that each of them holds and few others do; without it there is one kind, which is its own.
    """
    needle = f'"{mark or kinds[0]}"'.encode()
    for path in sorted(journal.glob(_SEGMENTS), reverse=True):
        fd = open_regular(path)
        if fd is None:
            continue
        try:
            for line in lines_backwards(fd, os.fstat(fd).st_size, needle):
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(record, dict) and record.get("type") in kinds:
                    yield record
        finally:
            os.close(fd)
