"""Short cuts into a run's history: what was known at some spots, and where in the journals these are. Derived; may be thrown away."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from daemon.files.reading import lines_backwards, open_regular
from daemon.runs.spot import Spot
from daemon.runs.view import RunView
from daemon.supervisor.merge import Places

_REPLAYS = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The fold up to *spot*; *places* are where the two journals may be read on from, without what comes before."""

    spot: Spot
    view: RunView
    places: Places = (None, None)


class Checkpoints:
    """Those of one run, in `checkpoints.jsonl`, oldest first; only the last is kept in memory, and where recent replays have ended.

    `before` may be called in threads, by several readers at once; the rest belongs to the owner of the history.
    """

    def __init__(self, path: Path, beginning: RunView) -> None:
        self._path = path
        self._beginning = Checkpoint(Spot(), beginning)
        self.last = next(self._stored(), self._beginning)
        self._replays: deque[Checkpoint] = deque(maxlen=_REPLAYS)

    def add(self, checkpoint: Checkpoint) -> None:
        """Note it. Only a short cut: failing to write it is no loss."""
        if checkpoint.spot == self.last.spot:
            return
        self.last = checkpoint
        line = orjson.dumps([list(checkpoint.spot), checkpoint.view.to_json(), list(checkpoint.places)])
        with contextlib.suppress(OSError), open(self._path, "ab", opener=_open_without_waiting) as file:
            file.write(line + b"\n")

    def before(self, spot: Spot) -> Checkpoint:
        """The nearest one at or before *spot*. Blocks on the disk."""
        near = [self._beginning, *(one for one in (self.last, *list(self._replays)) if one.spot <= spot)]
        best = max(near, key=lambda one: one.spot)
        if best.spot == spot:
            return best
        return max(best, next((one for one in self._stored() if one.spot <= spot), best), key=lambda one: one.spot)

    def has_replayed(self, checkpoint: Checkpoint) -> None:
        """A reader has read so far, and will most likely ask for what comes behind it next."""
        self._replays.append(checkpoint)

    def forget_replays(self) -> None:
        self._replays.clear()

    def _stored(self) -> Iterator[Checkpoint]:
        """Those on disk that can be read, newest first; whatever is odd in the file is left out."""
        fd = open_regular(self._path)
        if fd is None:
            return
        try:
            for line in lines_backwards(fd, os.fstat(fd).st_size, b"["):
                with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):
                    item: list[Any] = orjson.loads(line)
                    yield Checkpoint(_spot(item[0]), RunView.from_json(item[1]), (_place(item[2][0]), _place(item[2][1])))
        finally:
            os.close(fd)


def _spot(value: Any) -> Spot:
    match value:
        case [int(attempt), int(seq), int(own_seq)] if min(attempt, seq, own_seq) >= 0:
            return Spot(attempt, seq, own_seq)
        case _:
            raise ValueError(f"{value!r} is no spot")


def _place(value: Any) -> tuple[int, int] | None:
    match value:
        case None:
            return None
        case [int(segment), int(offset)] if min(segment, offset) >= 0:
            return segment, offset
        case _:
            raise ValueError(f"{value!r} is no place in a journal")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
