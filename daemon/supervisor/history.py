"""A run's history with the fold carried along: the recent part in memory, the rest on disk, one way to read both."""

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from daemon.runs.fold import Record, fold
from daemon.runs.spot import Spot
from daemon.runs.view import RunView
from daemon.supervisor.merge import MergedReader
from ipc.atomic import read_regular
from ipc.errors import JournalError, MalformedError
from ipc.journal import JournalWriter
from ipc.run_directory import RunDirectory

_RECENT = 1024
_CHECKPOINT_EVERY = 2048
_UNSYNCED = frozenset({"sample.found"})
"""Thousands may come at once, and their files are on disk: after a power cut they are found again. The next other record syncs them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, the spot behind it, and the views before and after it."""

    record: Record
    before: Spot
    spot: Spot
    previous: RunView
    view: RunView


class History:
    """Owned by one task: `advance` and `append` are its alone. `read_from` may be called by any reader on the loop."""

    def __init__(self, directory: RunDirectory, backend: str) -> None:
        self._directory = directory
        self._checkpoints: list[tuple[Spot, RunView]] = [(Spot(), RunView(directory.run_id, backend))]
        self._checkpoints += _load_checkpoints(directory.checkpoints)
        spot, self.view = self._checkpoints[-1]
        self._reader = MergedReader(directory, spot)
        self._recent: deque[Entry] = deque(maxlen=_RECENT)
        self._since_checkpoint = 0
        self._writer: JournalWriter | None = None
        self._behind = 0
        self._told_damage: set[bytes] = set()
        self.last_event_at: float | None = None
        """When the last record was journaled that was taken in, in Unix seconds; None before the first."""

    @property
    def spot(self) -> Spot:
        """The end of what has been taken in."""
        return self._reader.spot

    @property
    def was_at_work(self) -> bool:
        """Whether a runner of the present attempt has said anything: its events, or a record of ours that stands behind one."""
        return self.spot.seq > 0 or self._behind == self.spot.attempt

    def advance(self, limit: int = 4096) -> list[Entry]:
        """Take in what is new on disk, at most *limit* records; empty at the present end."""
        entries: list[Entry] = []
        before = self._reader.spot
        for record, spot in self._reader.read(limit):
            match record.get("after"):
                case [int(attempt), int(seq)] if seq > 0:
                    self._behind = attempt
            after = fold(self.view, record)
            entries.append(Entry(record, before, spot, self.view, after))
            if record.get("type") == "journal.damaged":
                self._told_damage.add(orjson.dumps(record.get("damage")))
            before, self.view = spot, after
        if entries and isinstance(at := entries[-1].record.get("ts"), int | float):
            self.last_event_at = at
        self._recent.extend(entries)
        self._since_checkpoint += len(entries)
        if self._since_checkpoint >= _CHECKPOINT_EVERY:
            self.checkpoint()
        return entries

    def unread_bytes(self) -> int:
        """How much of the journals has not been taken in. Looks at the state directory, as `advance` does."""
        return self._reader.unread_bytes()

    def append(self, kind: str, fields: Record) -> None:
        """Journal a record of the daemon's own, behind what has been taken in; `advance` gives it back. Synced before it returns.

        Raises:
            OSError: no room, or a journal that is damaged beyond sense; nothing was written.
        """
        if self._writer is None:
            try:
                self._writer = JournalWriter(self._directory.daemon)
            except JournalError as error:
                raise OSError(errno.EBADMSG, str(error)) from error
        self._writer.append({"type": kind, "after": [self.spot.attempt, self.spot.seq], **fields})
        if kind not in _UNSYNCED:
            self._writer.sync()

    def has_in_memory(self, spot: Spot) -> bool:
        """Whether `read_from` answers for *spot* without reading the disk."""
        return spot >= self.spot or (bool(self._recent) and spot >= self._recent[0].before)

    def read_from(self, spot: Spot, limit: int = 512) -> list[Entry]:
        """The entries behind *spot*, at most *limit*, never beyond what `advance` has taken in: the order is fixed only up to there.

        Where `has_in_memory` says no it reads the disk, and may be called in a thread.
        """
        if self.has_in_memory(spot):
            return self._recent_behind(spot)[:limit]
        return list(_replay(self._directory, self._checkpoint_before(spot), spot, self.spot, limit))

    def take_damage(self) -> list[Record]:
        """As `MergedReader.take_damage`, without what a `journal.damaged` record tells already."""
        return [damage for damage in self._reader.take_damage() if orjson.dumps(damage) not in self._told_damage]

    def checkpoint(self) -> None:
        """Note the view, so that the next daemon need not fold from the start. Only a short cut: failing to write it is no loss."""
        self._since_checkpoint = 0
        if self._checkpoints[-1][0] == self.spot:
            return
        self._checkpoints.append((self.spot, self.view))
        with contextlib.suppress(OSError), open(self._directory.checkpoints, "ab", opener=_open_without_waiting) as file:
            file.write(orjson.dumps([list(self.spot), self.view.to_json()]) + b"\n")

    def close(self) -> None:
        """Give back descriptors and memory. What is asked afterwards is read from disk; `append` and `advance` open it again."""
        self.checkpoint()
        self._recent.clear()
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _recent_behind(self, spot: Spot) -> list[Entry]:
        """From the end, since nearly every reader is near it."""
        fresh: list[Entry] = []
        for entry in reversed(self._recent):
            if entry.spot <= spot:
                break
            fresh.append(entry)
        fresh.reverse()
        return fresh

    def _checkpoint_before(self, spot: Spot) -> tuple[Spot, RunView]:
        return next((item for item in reversed(self._checkpoints) if item[0] <= spot), self._checkpoints[0])


def _replay(directory: RunDirectory, checkpoint: tuple[Spot, RunView], start: Spot, end: Spot, limit: int) -> Iterator[Entry]:
    """Fold from *checkpoint* to *start* in silence, then give the entries up to *end*."""
    before, view = checkpoint
    reader = MergedReader(directory, before)
    given = 0
    try:
        while given < limit and before < end and (records := reader.read(512)):
            for record, spot in records:
                if spot > end or given >= limit:
                    return
                after = fold(view, record)
                if spot > start:
                    yield Entry(record, before, spot, view, after)
                    given += 1
                before, view = spot, after
    finally:
        reader.close()


def _load_checkpoints(path: Path) -> list[tuple[Spot, RunView]]:
    """The checkpoints that can be read; the file is derived, so whatever is odd in it is left out."""
    found: list[tuple[Spot, RunView]] = []
    try:
        lines = read_regular(path).split(b"\n")[:-1]
    except (OSError, MalformedError):
        return found
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            item: list[Any] = orjson.loads(line)
            found.append((_spot(item[0]), RunView.from_json(item[1])))
    return found


def _spot(value: Any) -> Spot:
    match value:
        case [int(attempt), int(seq), int(own_seq)] if min(attempt, seq, own_seq) >= 0:
            return Spot(attempt, seq, own_seq)
        case _:
            raise ValueError(f"{value!r} is no spot")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
