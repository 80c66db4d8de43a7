"""The runs there are, and what may be asked about them. Starts and stops nothing."""

import asyncio
from pathlib import Path

from daemon.errors import ConflictError, NotFoundError
from daemon.runs.states import RunState
from daemon.runs.view import RunView
from daemon.samples.selection import ALL, Page, Place, Wanted
from daemon.supervisor.continuing import may_need
from daemon.supervisor.hub import Bell
from daemon.supervisor.live import LiveRun
from daemon.supervisor.past_samples import PastSamples
from daemon.supervisor.sightings import Sightings
from daemon.supervisor.store import RunStore


class RunBook:
    """All runs by id, oldest first, and the one that `/training/*` speaks of."""

    def __init__(self, store: RunStore) -> None:
        self.bell = Bell()
        self.sightings = Sightings()
        self.current: LiveRun | None = None
        self._store = store
        self._runs: dict[str, LiveRun] = {}
        self._past_samples = PastSamples()

    def runs(self) -> list[LiveRun]:
        """All runs, newest first."""
        return list(reversed(self._runs.values()))

    def current_view(self) -> RunView | None:
        """The run last started by this daemon or adopted by it, as it is now."""
        return self.current.view if self.current else None

    def run(self, run_id: str) -> LiveRun:
        """Raises NotFoundError (code `no_run`)."""
        found = self._runs.get(run_id)
        if found is None:
            raise NotFoundError(f"no run has the id {run_id!r}; GET /runs lists them", code="no_run", run_id=run_id)
        return found

    def has_made(self, run_id: str) -> bool:
        """Whether a run of that id has ever been created here, also when it has been removed since."""
        return run_id in self._runs or int(run_id[:6]) <= self._store.last_number()

    def run_ids_after(self, run_id: str) -> list[str]:
        """The ids of the runs created after *run_id*, oldest first."""
        return [other for other in self._runs if other > run_id]

    def working(self) -> LiveRun:
        """The run that `/training/*` speaks to: live, released or about to restart. Raises ConflictError (code `no_run`): there is none."""
        if self.current is None or not (self.current.view.has_place or self.current.view.state is RunState.RELEASED):
            raise ConflictError("no training is running; POST /training/start begins one", code="no_run")
        return self.current

    async def samples(self, limit: int, wanted: Wanted = ALL, before: Place | None = None) -> Page:
        """The newest samples of the current run, or of the last one that has any, as `SampleIndex.page`."""
        candidates = [self.current, *self.runs()] if self.current else self.runs()
        run = next((run for run in candidates if run.view.samples_dir), None)
        if run is None or run.view.samples_dir is None:
            return Page([])
        index = self.sightings.index(run.run_id)
        if index is None:
            index = await asyncio.to_thread(self._past_samples.index, run.directory, Path(run.view.samples_dir))
        return await asyncio.to_thread(index.page, limit, wanted, before)

    def sample_folders(self) -> list[Path]:
        """Where the runs have drawn their samples, links not resolved."""
        return [Path(folder) for folder in {run.view.samples_dir for run in self.runs()} if folder]

    def refuse_while_training(self) -> None:
        """Raises ConflictError (code `run_active`) while a training is under way."""
        view = self.current_view()
        if view is not None and view.has_place:
            raise ConflictError(f"run {view.run_id} is {view.state}; wait for its end or stop it first", code="run_active")

    def refuse_while_needed(self, backup: Path) -> None:
        """Raises ConflictError (code `backup_in_use`) while a run that has not ended may write *backup*, or go on from it."""
        for run in self.runs():
            if may_need(run.view, run.stored.meta, backup):
                raise ConflictError(
                    f"run {run.run_id} is {run.view.state} and may need the backup {backup.name}; wait for its end or stop it first",
                    code="backup_in_use", run_id=run.run_id,
                )  # fmt: skip
