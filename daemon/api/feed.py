"""What one client of `/ws` has yet to hear: histories read on from its own cursor, at its own pace. Holds no queue."""

import asyncio
import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from daemon.errors import NotFoundError
from daemon.runs import seed
from daemon.runs.spot import Cursor, Mark, Spot, bad_cursor
from daemon.supervisor.history import Entry, History
from daemon.supervisor.live import LiveRun
from daemon.supervisor.supervisor import Supervisor

_ENTRIES_AT_ONCE = 128


def read_cursor(text: str, supervisor: Supervisor) -> Cursor:
    """The cursor in *text*. Raises InvalidError (code `bad_cursor`): this server gave none such, or its histories do not go so far."""
    cursor = Cursor.decode(text)
    if cursor.through and not supervisor.has_made(cursor.through):
        raise bad_cursor(f"it is from behind run {cursor.through}, which has never been here")
    for run in supervisor.runs():
        mark, end = cursor.marks.get(run.run_id, Mark()), run.history.spot
        if mark.spot > end or mark.spot.own_seq > end.own_seq:
            raise bad_cursor(f"it is from behind the end of run {run.run_id}, whose history does not go so far")
    return cursor


class Feed:
    """Gives each message once, in the order of its run's history, with the cursor that goes on behind it."""

    def __init__(self, supervisor: Supervisor, cursor: Cursor | None) -> None:
        """Without *cursor* it begins at the present."""
        self._supervisor = supervisor
        self._cursor = cursor or _present(supervisor)
        self._silent: dict[str, Spot] = {}
        """Runs of which there was nothing to tell, up to here."""

    def hello(self) -> bytes:
        """The first message: the state as it is now."""
        view = self._supervisor.current_view()
        return _frame("connected", seed.state(view), self._cursor, view.run_id if view else None)

    async def next(self) -> list[bytes]:
        """The next messages, those of 128 records at most; empty at the present end."""
        later = self._supervisor.run_ids_after(self._cursor.through)
        for run_id in sorted({*self._cursor.marks, *later}):
            frames = await self._from_run(run_id, later)
            if frames:
                return frames
        return []

    async def _from_run(self, run_id: str, later: Sequence[str]) -> list[bytes]:
        try:
            run = self._supervisor.run(run_id)
        except NotFoundError:
            self._cursor = self._cursor.without(run_id)  # it was removed meanwhile
            return []
        if self._silent.get(run_id) == run.history.spot:
            return []
        skipped = later[bisect_right(later, self._cursor.through) : bisect_left(later, run_id)]
        frames: list[bytes] = []
        mark = self._cursor.marks.get(run_id, Mark())
        while not frames and (entries := await _read(run.history, mark.spot)):
            for entry in entries:
                found = seed.messages(entry.record, entry.previous, entry.view)
                for number, (kind, data) in enumerate(found[mark.sent :], start=mark.sent + 1):
                    mark = Mark(entry.before, number) if number < len(found) else Mark(entry.spot)
                    with contextlib.suppress(orjson.JSONEncodeError):  # a number beyond 64 bits, which no client could read either
                        frames.append(_frame(kind, data, self._cursor.moved(run_id, mark, skipped), run_id))
                mark = Mark(entry.spot)
        self._cursor = self._cursor.moved(run_id, mark, skipped)
        if mark.is_silent:
            self._silent[run_id] = mark.spot
        if not frames and _is_read_out(run, mark):
            self._cursor = self._cursor.without(run_id)
        return frames


async def _read(history: History, spot: Spot) -> list[Entry]:
    if history.has_in_memory(spot):
        return history.read_from(spot, _ENTRIES_AT_ONCE)
    return await asyncio.to_thread(history.read_from, spot, _ENTRIES_AT_ONCE)


def _is_read_out(run: LiveRun, mark: Mark) -> bool:
    return run.is_settled and mark.spot == run.history.spot


def _present(supervisor: Supervisor) -> Cursor:
    """Everything up to now has been seen."""
    runs = supervisor.runs()
    here = {run.run_id: Mark(run.history.spot) for run in runs}
    through = next((run_id for run_id, mark in here.items() if not mark.is_silent), "")
    marks = {run.run_id: here[run.run_id] for run in runs if not run.is_settled and run.run_id <= through}
    return Cursor(through, {run_id: Mark() if mark.is_silent else mark for run_id, mark in marks.items()})


def _frame(kind: str, data: Mapping[str, Any], cursor: Cursor, run_id: str | None) -> bytes:
    return orjson.dumps({"type": kind, "data": data, "cursor": cursor.encode(), "run_id": run_id})
