"""The disk guard: warns of file systems that fill up, holds the runs that write to a full one, and lets them go on when room comes back.

The state directory only warns. A runner carries its training through a full one by itself; what a full workspace costs is a backup.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from daemon.errors import ConflictError, DaemonError
from daemon.runs.disk import DiskMarks, Room, worst
from daemon.runs.policies import DISK_COMMAND, DiskLevel
from daemon.runs.states import RunState
from daemon.supervisor.live import LiveRun
from daemon.supervisor.room import room_at

_LOG = logging.getLogger(__name__)
LOOK_S = 10.0
_RECORDS: dict[DiskLevel, str] = {"ok": "disk.ok", "low": "disk.low", "held": "disk.hold"}
_Ask = Callable[[Path, bool], Room | None]


def _ask(path: Path, may_hold: bool) -> Room | None:
    return room_at(path, may_hold=may_hold)


class DiskGuard:
    """What it has told of a run, and whether it has paused it, stands in the run's history: the next daemon's guard goes on from there."""

    def __init__(self, runs: Callable[[], Iterable[LiveRun]], state_dir: Path, marks: DiskMarks, ask: _Ask = _ask) -> None:
        """*ask* gives the file system of a path; it may block, and is called in a thread."""
        self._runs = runs
        self._state_dir = state_dir
        self._marks = marks
        self._ask = ask
        self._of_state_dir: DiskLevel = "ok"
        self.rooms: tuple[Room, ...] = ()
        """The file systems as they were at the last look, one for each path."""

    def change_marks(self, marks: DiskMarks) -> None:
        """From the next look on."""
        self._marks = marks

    @property
    def level(self) -> DiskLevel:
        """The worst that is known: of the state directory, and of what live runs write to."""
        levels = {self._of_state_dir, *(run.view.disk for run in self._runs() if run.view.is_live)}
        return "held" if "held" in levels else "low" if "low" in levels else "ok"

    async def look(self) -> None:
        """Look once; to be called every `LOOK_S` seconds."""
        live = [run for run in self._runs() if run.view.is_live]
        own, rooms = await asyncio.to_thread(self._measure, live)
        self.rooms = tuple({room.path: room for room in (*own, *(room for found in rooms for room in found))}.values())
        before, (self._of_state_dir, _) = self._of_state_dir, worst(self._marks, own, self._of_state_dir)
        if own and self._of_state_dir != before:
            _LOG.warning("%s: %d bytes are free: %s", self._state_dir, own[0].free, self._of_state_dir)
        await asyncio.gather(*(self._meet(run, own + found) for run, found in zip(live, rooms, strict=True)))

    def _measure(self, live: list[LiveRun]) -> tuple[list[Room], list[list[Room]]]:
        own = self._ask(self._state_dir, False)
        found = [[self._ask(path, True) for path in _written(run)] for run in live]
        return [own] if own else [], [[room for room in rooms if room is not None] for rooms in found]

    async def _meet(self, run: LiveRun, rooms: list[Room]) -> None:
        before = run.view.disk
        level, room = worst(self._marks, rooms, before)
        if level == "held" and run.view.state in (RunState.STARTING, RunState.LOADING):
            level = "low"  # not yet: it can be held when it trains
        if level == before or room is None or run.view.state is RunState.STOPPING:
            return
        fields: dict[str, object] = {"path": room.path, "free": room.free, "total": room.total}
        if level == "held":
            fields["paused"] = await self._hold(run)
        elif run.view.held_by_disk and not await self._let_go(run):
            return
        if run.view.is_live:
            run.record(_RECORDS[level], fields)

    async def _hold(self, run: LiveRun) -> bool:
        """Whether the guard has paused it; not if a client has, or if it cannot be paused."""
        if run.view.held_by_disk or run.view.state is RunState.PAUSED:
            return run.view.held_by_disk
        if "pause_hold" not in run.view.capabilities:
            return False
        try:
            await run.send("pause", {"mode": "hold"}, settle_s=0, sender=DISK_COMMAND)
        except DaemonError as error:
            _LOG.error("run %s fills a disk and cannot be held: %s", run.run_id, error)
            return False
        return True

    async def _let_go(self, run: LiveRun) -> bool:
        """False when it must be tried again."""
        try:
            await run.send("resume", settle_s=0, sender=DISK_COMMAND)
        except ConflictError:
            pass  # it goes on already
        except DaemonError as error:
            _LOG.error("run %s cannot be resumed, though there is room again: %s", run.run_id, error)
            return False
        return True


def _written(run: LiveRun) -> list[Path]:
    told = [run.view.workspace_dir] if run.view.workspace_dir else []
    return [Path(text) for text in dict.fromkeys([*run.stored.meta.get("writes", []), *told])]
