"""A run's history with the fold carried along: the recent part in memory, the rest on disk, one way to read both."""

import errno
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from daemon.runs.fold import STEPS, Record, fold, fold_steps
from daemon.runs.spot import Spot
from daemon.runs.view import RunView
from daemon.supervisor.checkpoints import Checkpoint, Checkpoints
from daemon.supervisor.merge import MergedReader
from ipc.errors import JournalError
from ipc.journal import JournalWriter
from ipc.run_directory import RunDirectory

_RECENT = 1024
_CHECKPOINT_EVERY = 2048
_PORTION = 256
"""A record of `steps` may hold hundreds of rows: some milliseconds of the loop's time."""
_REPLAY_BYTES = 32 << 10
"""At once, by each of any number of clients that read what is not in memory any more."""
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
        self._checkpoints = Checkpoints(directory.checkpoints, RunView(directory.run_id, backend))
        last = self._checkpoints.last
        self.view = last.view
        self._reader = MergedReader(directory, last.spot, last.places)
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
            self._note(record)
            after = fold(self.view, record)
            entries.append(Entry(record, before, spot, self.view, after))
            before, self.view = spot, after
        if entries and isinstance(at := entries[-1].record.get("ts"), int | float):
            self.last_event_at = at
        self._recent.extend(entries)
        self._count(len(entries))
        return entries

    def catch_up(self, limit: int = _PORTION) -> int:
        """As `advance`, where nobody waits for the entries: returns how many records were taken in.

        Of steps in a row only the last is folded, which comes to the same view many times faster.
        """
        records = self._reader.read(limit)
        steps: list[Record] = []
        for record, _ in records:
            self._note(record)
            if record.get("type") in STEPS:
                steps.append(record)
                continue
            self.view = fold(fold_steps(self.view, steps), record)
            steps.clear()
        self.view = fold_steps(self.view, steps)
        self._recent.clear()
        self._count(len(records))
        return len(records)

    def _note(self, record: Record) -> None:
        match record.get("after"):
            case [int(attempt), int(seq)] if seq > 0:
                self._behind = attempt
        if record.get("type") == "journal.damaged":
            self._told_damage.add(orjson.dumps(record.get("damage")))

    def _count(self, taken: int) -> None:
        self._since_checkpoint += taken
        if self._since_checkpoint >= _CHECKPOINT_EVERY:
            self.checkpoint()

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
        return list(_replay(self._directory, self._checkpoints, spot, self.spot, limit))

    def take_damage(self) -> list[Record]:
        """As `MergedReader.take_damage`, without what a `journal.damaged` record tells already."""
        return [damage for damage in self._reader.take_damage() if orjson.dumps(damage) not in self._told_damage]

    def checkpoint(self) -> None:
        """Note the view, so that the next daemon need not fold from the start."""
        self._since_checkpoint = 0
        self._checkpoints.add(Checkpoint(self.spot, self.view, self._reader.places))

    def close(self) -> None:
        """Give back descriptors and memory. What is asked afterwards is read from disk; `append` and `advance` open it again."""
        self.checkpoint()
        self._checkpoints.forget_replays()
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


def _replay(directory: RunDirectory, checkpoints: Checkpoints, start: Spot, end: Spot, limit: int) -> Iterator[Entry]:
    """Fold from the nearest checkpoint to *start* in silence, then give the entries up to *end*."""
    nearest = checkpoints.before(start)
    before, view = nearest.spot, nearest.view
    reader = MergedReader(directory, before, nearest.places, _REPLAY_BYTES)
    given = 0
    try:
        while given < limit and before < end and (records := reader.read(min(512, limit - given))):
            for record, spot in records:
                if spot > end:
                    return
                after = fold(view, record)
                if spot > start:
                    yield Entry(record, before, spot, view, after)
                    given += 1
                before, view = spot, after
        checkpoints.has_replayed(Checkpoint(before, view, reader.places))
    finally:
        reader.close()
