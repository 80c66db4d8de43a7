"""Taking scalars from a run's journals into its store: each point once, in order, from where the last fill ended. Blocks on the disk."""

import logging
import sqlite3
import threading
import time
from pathlib import Path

import orjson

from daemon.samples.mounts import is_network
from daemon.scalars.rows import columns_of
from daemon.scalars.store import Place, ScalarStore, remove
from ipc.errors import IpcError
from ipc.journal import JournalReader
from ipc.run_directory import AttemptDirectory, RunDirectory

_LOG = logging.getLogger(__name__)
_PORTION_BYTES = 256 << 10


class Filler:
    """Fills the store of one run. Keeps it open between fills; `close` it.

    Thread-safe: a task that is cancelled leaves its thread behind, and the next may come before that has ended.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._store: ScalarStore | None = None
        self._readers: dict[tuple[int, str], JournalReader] = {}
        self._places: dict[tuple[int, str], Place] = {}
        self._is_remade = False

    @property
    def is_open(self) -> bool:
        return self._store is not None

    def fill(self, budget_s: float) -> bool:
        """Take in what is new, for about *budget_s*; whether all that was there has been taken in.

        Raises:
            OSError: journals or store cannot be read or written; what was taken in stays, and another fill goes on behind it.
        """
        with self._lock:
            try:
                return self._take_all(time.monotonic() + budget_s)
            except (sqlite3.Error, OSError, IpcError, ValueError) as error:
                self._close()  # what was read and not stored is read again
                is_garbled = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
                if is_garbled and not self._is_remade:
                    _LOG.warning("%s is made anew from the journals: %s", self._directory.scalars, error)
                    self._is_remade = True
                    remove(self._directory.scalars)
                    return False
                raise OSError(f"{self._directory.scalars}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._close()

    def discard(self) -> None:
        """Remove the store: the next fill makes it anew. Raises OSError."""
        with self._lock:
            self._close()
            remove(self._directory.scalars)

    def _close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        if self._store is not None:
            self._store.close()
            self._store = None

    def _take_all(self, deadline: float) -> bool:
        for attempt in self._directory.attempts():
            # An orphaned trainer writes on in a journal of its own, and only when the runner, who wrote the other, is dead.
            for name, folder in (("events", attempt.events), ("orphan", attempt.orphan_events)):
                while self._take_portion(attempt, name, folder):
                    if time.monotonic() >= deadline:
                        return False
        return True

    def _take_portion(self, attempt: AttemptDirectory, name: str, folder: Path) -> bool:
        key = attempt.number, name
        if (reader := self._readers.get(key)) is None:
            if not folder.is_dir():
                return False
            self._places[key] = self._opened().place(*key)
            reader = self._readers[key] = self._reader(self._places[key], folder)
        records = reader.read(_PORTION_BYTES)
        if not records:
            return False
        place = Place(reader.seq, *reader.position)
        self._opened().add(attempt.number, name, columns_of(records), self._places[key], place)
        self._places[key] = place
        return True

    def _reader(self, place: Place, folder: Path) -> JournalReader:
        segment = folder / f"{place.segment:012d}.jsonl"
        if place.segment and segment.exists() and segment.stat().st_size < place.offset:
            # After a power cut a journal may be shorter than what was read of it; what it says now counts.
            raise sqlite3.DatabaseError(f"{segment} is shorter than what was read of it")
        return JournalReader(folder, place.seq, (place.segment, place.offset), loads=orjson.loads)

    def _opened(self) -> ScalarStore:
        if self._store is None:
            self._store = ScalarStore.writing(self._directory.scalars, is_shared=is_network(self._directory.path))
        return self._store
