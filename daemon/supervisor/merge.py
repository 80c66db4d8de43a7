"""The two journals of a run, read as the one history that they are."""

from collections import deque
from typing import Any

import orjson

from daemon.runs.fold import Record
from daemon.runs.spot import Spot
from ipc.journal import JournalReader
from ipc.run_directory import RunDirectory

_CHUNK_BYTES = 256 << 10
Places = tuple[tuple[int, int] | None, tuple[int, int] | None]
"""Where to read on in the daemon's and in the attempt's journal, as `JournalReader.position`; None: from its beginning."""


def _loads(line: bytes) -> dict[str, Any]:
    record = orjson.loads(line)
    if not isinstance(record, dict):
        raise TypeError("a record is an object")
    return record


class MergedReader:
    """Reads on from a spot. A record of the daemon stands directly behind the event that its `after` names.

    Blocking, but never for long: local files, a quarter of a megabyte at a time.
    """

    def __init__(
        self,
        directory: RunDirectory,
        spot: Spot = Spot(),  # noqa: B008 - a NamedTuple is immutable
        places: Places = (None, None),
        chunk_bytes: int = _CHUNK_BYTES,
    ) -> None:
        """*places* are those of a reader that stood at or before *spot*, in the same attempt; *chunk_bytes* are read at once."""
        self._directory = directory
        self.spot = spot
        self._chunk_bytes = chunk_bytes
        own, attempt = places
        self._own = JournalReader(directory.daemon, spot.own_seq, own, loads=_loads)
        self._own_pending: deque[Record] = deque()
        self._own_place = own
        self._is_own_read_out = False
        self._attempt = JournalReader(directory.attempt(spot.attempt).events, spot.seq, attempt, loads=_loads) if spot.attempt else None
        self._attempt_pending: deque[Record] = deque()
        self._attempt_place = attempt
        self._damage: list[Record] = []

    def read(self, limit: int = 4096) -> list[tuple[Record, Spot]]:
        """The next records, each with the spot behind it; empty at the present end.

        The daemon's own journal is looked at once: what is appended to it meanwhile stands behind what is read here.
        """
        self._is_own_read_out = False
        found: list[tuple[Record, Spot]] = []
        while len(found) < limit and (record := self._next()) is not None:
            found.append((record, self._advance(record)))
        return found

    @property
    def places(self) -> Places:
        """Where another reader may begin, to read on from this one's spot: not beyond it, and at most a chunk before it."""
        return self._own_place, self._attempt_place

    def take_damage(self) -> list[Record]:
        """What was found broken since the last call: `{"gap": [first seq, last seq]}` or `{"bad_lines": count, "near_seq": seq}`."""
        self._note_damage("daemon", self._own)
        if self._attempt is not None:
            self._note_damage(f"attempt {self.spot.attempt}", self._attempt)
        damage, self._damage = self._damage, []
        return damage

    def _note_damage(self, name: str, reader: JournalReader) -> None:
        self._damage += [{"journal": name, "gap": list(gap)} for gap in reader.gaps]
        reader.gaps.clear()
        if reader.bad_lines:
            self._damage.append({"journal": name, "bad_lines": reader.bad_lines, "near_seq": reader.seq})
            reader.bad_lines = 0

    def unread_bytes(self) -> int:
        """As `JournalReader.unread_bytes`, of both journals."""
        return self._own.unread_bytes() + (self._attempt.unread_bytes() if self._attempt is not None else 0)

    def close(self) -> None:
        self._own.close()
        if self._attempt is not None:
            self._attempt.close()

    def _next(self) -> Record | None:
        if not self._own_pending and not self._is_own_read_out:
            self._own_place = self._own.position
            self._own_pending.extend(self._own.read(self._chunk_bytes))
            self._is_own_read_out = not self._own_pending
        if self._own_pending and _after(self._own_pending[0]) <= self.spot[:2]:
            return self._own_pending.popleft()
        if self._attempt is not None and not self._attempt_pending:
            self._attempt_place = self._attempt.position
            self._attempt_pending.extend(self._attempt.read(self._chunk_bytes))
        if self._attempt_pending:
            return self._attempt_pending.popleft()
        # What it stands behind is not there: that journal was cut. The record itself is none the less true.
        return self._own_pending.popleft() if self._own_pending else None

    def _advance(self, record: Record) -> Spot:
        seq = int(record["seq"])
        if "after" not in record:
            self.spot = self.spot._replace(seq=seq)
            return self.spot
        self.spot = self.spot._replace(own_seq=seq)
        if record.get("type") == "run.starting" and type(record.get("attempt")) is int and record["attempt"] > self.spot.attempt:
            if self._attempt is not None:
                self._note_damage(f"attempt {self.spot.attempt}", self._attempt)
                self._attempt.close()
            self.spot = Spot(record["attempt"], 0, seq)
            self._attempt, self._attempt_place = JournalReader(self._directory.attempt(self.spot.attempt).events, loads=_loads), None
        return self.spot


def _after(record: Record) -> tuple[int, int]:
    after = record.get("after")
    match after:
        case [int(attempt), int(seq)]:
            return attempt, seq
        case _:
            return 0, 0
