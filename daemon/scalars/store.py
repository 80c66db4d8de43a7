"""`scalars.db`: a run's scalars as packed columns in SQLite. Derived from the journals, and thrown away when it is not right.

SQLite gives what is hard by hand: points and the place in the journals up to which they go are written in one transaction, so that
they are there once, whatever dies when. One row a point would be slow (a million of them take a second to read, and three times the
room): a row holds up to 8192 points of one tag as three packed columns, and a million is read in some ten milliseconds.
"""

import contextlib
import logging
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote

from daemon.scalars.rows import Columns

_LOG = logging.getLogger(__name__)
_VERSION = 1
_CHUNK_POINTS = 8192
_BUSY_S = 5.0
_SCHEMA = f"""
CREATE TABLE place (attempt INTEGER, journal TEXT, seq INTEGER, segment INTEGER, offset INTEGER, PRIMARY KEY (attempt, journal));
CREATE TABLE series (
    id INTEGER PRIMARY KEY, attempt INTEGER, tag TEXT, count INTEGER, first_step INTEGER, last BLOB, UNIQUE (attempt, tag)
);
CREATE TABLE chunk (series INTEGER, number INTEGER, count INTEGER, first_step INTEGER, last_step INTEGER, data BLOB);
CREATE UNIQUE INDEX chunk_by_number ON chunk (series, number, count, first_step, last_step);
PRAGMA user_version = {_VERSION};
"""
"""`last` is the last point as `Columns.to_bytes` gives it: SQLite has no NaN, and would make it NULL."""


class Place(NamedTuple):
    """How far a journal has been read: the last record, and where the next one begins."""

    seq: int = 0
    segment: int = 0
    offset: int = 0


class Chunk(NamedTuple):
    """Points from *start* to *stop* of `Columns.to_bytes`."""

    data: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one tag of one attempt."""

    id: int
    attempt: int
    tag: str
    count: int
    first_step: int
    last: Columns


class ScalarStore:
    """One connection. Not for two threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def writing(cls, path: Path, *, is_shared: bool = False) -> Self:
        """Open the store at *path* to add to it; it is made where there is none, and anew where it is of no use.

        *is_shared*: on a network file system, where SQLite's write-ahead log does not work (sqlite.org/wal.html).

        Raises:
            sqlite3.Error: no room, no right.
        """
        try:
            return cls(_open(path, is_shared=is_shared))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            _LOG.warning("%s is made anew from the journals: %s", path, error)
            remove(path)
            return cls(_open(path, is_shared=is_shared))

    @classmethod
    def reading(cls, path: Path) -> Self | None:
        """Open the store at *path*, all in one state of it, until it is closed; None where there is none.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        if not path.exists():
            return None
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("BEGIN")
            [version] = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        if version != _VERSION:
            connection.close()
            return None
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing.

    def place(self, attempt: int, journal: str) -> Place:
        """How far the journal `events` or `orphan` of *attempt* has been taken in."""
        found = self._connection.execute("SELECT seq, segment, offset FROM place WHERE attempt = ? AND journal = ?", (attempt, journal))
        return Place(*(found.fetchone() or ()))

    def add(self, attempt: int, journal: str, columns: Mapping[str, Columns], before: Place, place: Place) -> None:
        """Add *columns*, which go from *before* to *place* of the journal: all of it, or nothing of it.

        Raises:
            sqlite3.Error: nothing was added; also where somebody else has (the helper of a daemon that was killed).
        """
        with self._transaction():
            if self.place(attempt, journal) != before:
                raise sqlite3.OperationalError("somebody else is filling it")
            for tag, new in columns.items():
                self._append(self._series_id(attempt, tag, new), new)
            row = (attempt, journal, *place)
            self._connection.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?, ?)", row)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite itself has rolled back, as it does on a full disk
                self._connection.execute("ROLLBACK")
            raise

    def _series_id(self, attempt: int, tag: str, new: Columns) -> int:
        last = new.part(len(new) - 1, len(new)).to_bytes()
        self._connection.execute(
            "INSERT INTO series (attempt, tag, count, first_step, last) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (attempt, tag) DO UPDATE SET count = count + excluded.count, last = excluded.last",
            (attempt, tag, len(new), new.steps[0], last),
        )
        [number] = self._connection.execute("SELECT id FROM series WHERE attempt = ? AND tag = ?", (attempt, tag)).fetchone()
        return int(number)

    def _append(self, series: int, new: Columns) -> None:
        """Put *new* behind what is there. Chunks that are not larger are taken in, as long as the result is no larger than a chunk: so
        few are left, and a point is written again at most as often as a chunk can double."""
        last = "SELECT rowid, number, count FROM chunk WHERE series = ? ORDER BY number DESC LIMIT 1"
        number = 0
        while (found := self._connection.execute(last, (series,)).fetchone()) is not None:
            rowid, number, count = found
            if count > len(new) or count + len(new) > _CHUNK_POINTS:
                number += 1
                break
            [data] = self._connection.execute("SELECT data FROM chunk WHERE rowid = ?", (rowid,)).fetchone()
            old = Columns.from_bytes(data)
            old.extend(new)
            new = old
            self._connection.execute("DELETE FROM chunk WHERE rowid = ?", (rowid,))
        row = (series, number, len(new), new.steps[0], new.steps[-1], new.to_bytes())
        self._connection.execute("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)", row)

    # Reading.

    def series(self) -> list[Series]:
        """All there is, by attempt and tag."""
        rows = self._connection.execute("SELECT id, attempt, tag, count, first_step, last FROM series ORDER BY attempt, tag")
        return [
            Series(number, attempt, tag, count, first_step, Columns.from_bytes(last))
            for number, attempt, tag, count, first_step, last in rows
        ]

    def count(self, series: Series, above: int, until: int) -> int:
        """How many points with steps in (above, until] there are at most."""
        question = "SELECT coalesce(sum(count), 0) FROM chunk WHERE series = ? AND last_step > ? AND first_step <= ?"
        return int(self._connection.execute(question, (series.id, above, until)).fetchone()[0])

    def chunks(self, series: Series, above: int, until: int) -> Iterator[Chunk]:
        """The points with steps in (above, until], in order, as they are stored."""
        question = "SELECT data FROM chunk WHERE series = ? AND last_step > ? AND first_step <= ? ORDER BY number"
        for [data] in self._connection.execute(question, (series.id, above, until)):
            steps = memoryview(data)[: len(data) // 3].cast("q")
            yield Chunk(data, bisect_right(steps, above), bisect_right(steps, until))

    def read(self, series: Series, above: int, until: int) -> Iterator[Columns]:
        """As `chunks`, unpacked."""
        for data, start, stop in self.chunks(series, above, until):
            columns = Columns.from_bytes(data)
            yield columns if stop - start == len(columns) else columns.part(start, stop)


def remove(path: Path) -> None:
    """Remove the store at *path* with all that SQLite keeps beside it."""
    for name in files_of(path.name):
        path.with_name(name).unlink(missing_ok=True)


def files_of(name: str) -> tuple[str, ...]:
    """The names of the files that a store called *name* consists of."""
    return (name, f"{name}-wal", f"{name}-shm", f"{name}-journal")


def _open(path: Path, *, is_shared: bool) -> sqlite3.Connection:
    """Raises DatabaseError where what is there is no store of this version."""
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if is_shared else 'WAL'}")
        # A power cut may take the last seconds away, points and place alike: the journals have them.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -512")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, not {_VERSION}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
