"""Events from the training thread to the runner. The training thread never waits: a writer thread does."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ipc.atomic import write_all
from ipc.messages import encode

_MERGE_FROM = 8
_ROWS_PER_EVENT = 256
_FLUSH_S = 10.0


class Channel:
    """A queue of events and the thread that writes them.

    Under pressure (the runner stands still) consecutive steps are put together into `steps`; past *limit_bytes* the oldest telemetry
    makes room and `events.dropped` says what is missing. State, errors and answers are never dropped.
    """

    def __init__(self, fd: int, on_broken: "Callable[[], Callable[[dict[str, Any]], None]]", limit_bytes: int = 64 << 20) -> None:
        """Write to *fd*. When nobody reads it any more, *on_broken* gives the function that takes the events from then on."""
        self._fd = fd
        self._on_broken = on_broken
        self._write: Callable[[dict[str, Any]], None] = self._write_to_pipe
        self._limit = limit_bytes
        self._pending: deque[tuple[dict[str, Any], int]] = deque()
        self._pending_bytes = 0
        self._dropped: list[dict[str, Any]] = []
        self._condition = threading.Condition()
        self._closing = False
        self._idle = True
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def emit(self, kind: str, fields: "dict[str, Any]") -> None:
        """Queue an event. Thread-safe; takes microseconds; never raises for a runner that is slow or dead."""
        event = {"type": kind, "ts": round(time.time(), 4), **fields}
        size = 200 + 40 * len(fields.get("scalars", ()))
        with self._condition:
            self._pending.append((event, size))
            self._pending_bytes += size
            if self._pending_bytes > self._limit:
                self._make_room()
            self._condition.notify()

    def close(self) -> None:
        """Write what is queued, for ten seconds at most, and end the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(_FLUSH_S)

    def flush(self, timeout_s: float = _FLUSH_S) -> bool:
        """Wait until everything queued so far is written; False after *timeout_s*."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._pending and self._idle, timeout_s)

    def _make_room(self) -> None:
        """Drop the older half of the queued steps and sampling ticks; everything else stays."""
        frequent = [index for index, (event, _) in enumerate(self._pending) if event["type"] in ("step", "sampling")]
        victims = set(frequent[: max(1, len(frequent) // 2)])
        kept: deque[tuple[dict[str, Any], int]] = deque()
        for index, item in enumerate(self._pending):
            if index in victims:
                self._dropped.append(item[0])
                self._pending_bytes -= item[1]
            else:
                kept.append(item)
        self._pending = kept

    def _run(self) -> None:
        while True:
            with self._condition:
                self._idle = True
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    return
                self._idle = False
                batch = [event for event, _ in self._pending]
                self._pending.clear()
                self._pending_bytes = 0
                dropped, self._dropped = self._dropped, []
            if dropped:
                self._send(_dropped_event(dropped))
            for event in merge_steps(batch):
                self._send(event)

    def _send(self, event: "dict[str, Any]") -> None:
        try:
            self._write(event)
        except OSError:
            if self._write != self._write_to_pipe:
                return  # the orphan's journal is on a full disk: the training goes on without it
            self._write = self._on_broken()
            self._send(event)

    def _write_to_pipe(self, event: "dict[str, Any]") -> None:
        write_all(self._fd, encode(event))

    def close_pipe(self) -> None:
        os.close(self._fd)


def merge_steps(batch: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """*batch* with each row of eight or more `step` events put together into `steps`; order and content stay."""
    merged: list[dict[str, Any]] = []
    index = 0
    while index < len(batch):
        end = index
        while end < len(batch) and batch[end]["type"] == "step" and end - index < _ROWS_PER_EVENT:
            end += 1
        if end - index >= _MERGE_FROM:
            rows = [{key: value for key, value in event.items() if key != "type"} for event in batch[index:end]]
            merged.append({"type": "steps", "ts": rows[-1]["ts"], "rows": rows})
            index = end
        else:
            merged.extend(batch[index : max(end, index + 1)])
            index = max(end, index + 1)
    return merged


def _dropped_event(dropped: "list[dict[str, Any]]") -> "dict[str, Any]":
    steps = [event["global_step"] for event in dropped if event["type"] == "step"]
    return {
        "type": "events.dropped",
        "ts": round(time.time(), 4),
        "where": "trainer",
        "count": len(dropped),
        "from": steps[0] if steps else None,
        "to": steps[-1] if steps else None,
    }
