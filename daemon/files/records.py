"""Find the records of one kind in a journal, newest first, without reading what came before those that are wanted."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from daemon.files.reading import lines_backwards, open_regular

_SEGMENTS = "[0-9]" * 12 + ".jsonl"
"""PROTOCOL.md: segments are named after their first record, with zeros in front, so that they sort."""


def newest_records(journal: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The records of type *kind*, last one first. Bad lines and a torn tail are passed over; a missing journal has none. Blocks."""
    for path in sorted(journal.glob(_SEGMENTS), reverse=True):
        fd = open_regular(path)
        if fd is None:
            continue
        try:
            for line in lines_backwards(fd, os.fstat(fd).st_size, f'"{kind}"'.encode()):
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(record, dict) and record.get("type") == kind:
                    yield record
        finally:
            os.close(fd)
