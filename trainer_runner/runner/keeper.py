"""The runner's hold on its journal: a full disk holds events in memory, fsync has a thread of its own, and the daemon is woken."""

import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from ipc.journal import JournalWriter
from ipc.messages import FREQUENT_EVENTS
from ipc.pipes import wake

_HELD_ROWS = 20_000
_SYNC_EVERY_S = 1.0


class JournalKeeper:
    """Appends without ever raising for a full disk. Owned by the runner's one loop."""

    def __init__(self, folder: Path, wake_fd: int) -> None:
        self._journal = JournalWriter(folder)
        self._wake_fd = wake_fd
        self._held: deque[dict[str, Any]] = deque()
        self._held_rows = 0
        self._dropped: list[int] = []
        self._syncer = _Syncer(self._journal)

    @property
    def is_held(self) -> bool:
        """Events wait in memory for room on the disk; call `retry` now and then."""
        return bool(self._held)

    def append(self, event: "dict[str, Any]") -> None:
        event.setdefault("ts", round(time.time(), 4))
        if self._held:
            self._hold(event)
            return
        try:
            self._write(event)
        except OSError as error:
            self._hold({"type": "journal.held", "ts": round(time.time(), 4), "error": os.strerror(error.errno or 0)})
            self._hold(event)

    def retry(self) -> None:
        """Write what was held, oldest first, as far as there is room."""
        count = len(self._held)
        try:
            if self._dropped:
                self._write({
                    "type": "events.dropped", "where": "runner", "count": len(self._dropped),
                    "from": self._dropped[0], "to": self._dropped[-1],
                })  # fmt: skip
                self._dropped = []
            while self._held:
                self._write(self._held[0])
                self._held_rows -= _rows(self._held.popleft())
            if count:
                self._write({"type": "journal.resumed", "held": count})
        except OSError:
            pass  # still no room; the next call tries again

    def close(self) -> None:
        self.retry()
        self._syncer.close()

    def _write(self, event: "dict[str, Any]") -> None:
        self._journal.append(event)
        self._syncer.request(urgent=event["type"] not in FREQUENT_EVENTS)
        wake(self._wake_fd)

    def _hold(self, event: "dict[str, Any]") -> None:
        """Keep *event*; steps are put together, and past the limit the oldest steps go, counted."""
        last = self._held[-1] if self._held else None
        if event["type"] == "step" and last is not None and last["type"] == "steps" and len(last["rows"]) < 256:
            last["rows"].append({key: value for key, value in event.items() if key != "type"})
        elif event["type"] == "step":
            self._held.append({"type": "steps", "ts": event["ts"], "rows": [{key: value for key, value in event.items() if key != "type"}]})
        else:
            self._held.append(event)
        self._held_rows += 1
        if self._held_rows > _HELD_ROWS:
            self._drop_oldest_steps()

    def _drop_oldest_steps(self) -> None:
        for index, event in enumerate(self._held):
            if event["type"] == "steps":
                self._dropped += [row["global_step"] for row in event["rows"]]
                self._held_rows -= len(event["rows"])
                del self._held[index]
                return


class _Syncer:
    """fdatasync on a thread: at once when urgent, else at most once a second."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._condition = threading.Condition()
        self._dirty = self._urgent = self._closing = False
        self._thread = threading.Thread(target=self._run, name="fsync", daemon=True)
        self._thread.start()

    def request(self, *, urgent: bool) -> None:
        with self._condition:
            self._dirty = True
            self._urgent = self._urgent or urgent
            self._condition.notify()

    def close(self) -> None:
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(30)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._dirty or self._closing)
                if not self._dirty:
                    return
                self._condition.wait_for(lambda: self._urgent or self._closing, timeout=_SYNC_EVERY_S)
                self._dirty = self._urgent = False
            try:
                self._journal.sync()
            except OSError:
                pass  # an I/O error here is the disk's; the next append meets it too and holds its events


def _rows(event: "dict[str, Any]") -> int:
    return len(event["rows"]) if event["type"] == "steps" else 1
