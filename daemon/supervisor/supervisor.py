"""All runs of this daemon: adopted, queued, started one after the other, held to their end. Knows nothing of HTTP."""

import asyncio
import contextlib
import contextvars
import functools
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import ConflictError, DaemonError, UnavailableError
from daemon.runs.disk import DiskMarks, Room
from daemon.runs.fold import Record
from daemon.runs.policies import DiskLevel
from daemon.runs.retention import Retention
from daemon.runs.states import ENDED, RunState
from daemon.supervisor.book import RunBook
from daemon.supervisor.clock import Clock
from daemon.supervisor.disk_guard import LOOK_S as DISK_LOOK_S
from daemon.supervisor.disk_guard import DiskGuard
from daemon.supervisor.farewell import see_off
from daemon.supervisor.launcher import Launcher
from daemon.supervisor.live import LiveRun
from daemon.supervisor.packing import remove_unused
from daemon.supervisor.plan import StopPeriods, Trainer, launch_file
from daemon.supervisor.restarts import Restarts
from daemon.supervisor.retaining import remove_old
from daemon.supervisor.stall_watch import LOOK_S as STALL_LOOK_S
from daemon.supervisor.stall_watch import StallWatch
from daemon.supervisor.store import RunSpec, RunStore, StoredRun
from ipc.run_directory import AttemptDirectory

_LOG = logging.getLogger(__name__)
_CATCH_UPS = 16
"""Histories that are read at once: each holds two descriptors meanwhile."""
_KNOWN_S = 5.0
"""For the ends of runs that ended while no daemon was there; one whose disk hangs keeps nobody longer."""
_FAREWELL_MARGIN_S = 30.0


@dataclass(frozen=True)
class Policy:
    """How many runs at once, how long a stop may take, how much room there must be, and which ended runs are kept."""

    max_concurrent_runs: int
    stop: StopPeriods
    disk: DiskMarks = DiskMarks()  # noqa: RUF009 - immutable
    retention: Retention = Retention()  # noqa: RUF009 - immutable


class Supervisor(RunBook):
    """Use it as `async with supervisor.running():`. Leaving it leaves every runner at its work.

    Histories may be long: until `wait_adopted` returns, runs are shown as their last checkpoints have them, and nothing can be asked for.
    """

    def __init__(
        self,
        store: RunStore,
        launcher: Launcher,
        archive: Path,
        trainers: dict[str, Callable[[], Trainer]],
        policy: Policy,
        clock: Clock | None = None,
    ) -> None:
        """*trainers* says per backend how its trainer is started, and raises a DaemonError where it cannot be."""
        super().__init__(store)
        self._launcher = launcher
        self._archive = archive
        self._trainers = trainers
        self._policy = policy
        self._clock = clock or Clock()
        self._restarts = Restarts(self._begin_soon, self._spawn, self._clock)
        self._stuck: set[str] = set()
        self._removing = asyncio.Lock()
        self._stalls = StallWatch(self._runs.values, self._clock)
        self._disk = DiskGuard(self._runs.values, store.state_dir, policy.disk)
        self._adopted = asyncio.Event()
        self._is_leaving = False
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Adopt what is there, hold it, and let go of it at the end. The adoption goes on behind."""
        async with self.sightings.running():
            opened = self._open_all()
            self._spawn(self._take_over(opened), "the adoption")
            try:
                yield
            finally:
                self._is_leaving = True
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                for run in self._runs.values():
                    run.close()

    def change_policy(self, policy: Policy) -> None:
        """From now on; with more places, queued runs start. A run at work keeps its place, and the stop periods it began with."""
        self._policy = policy
        self._disk.change_marks(policy.disk)
        self._fill_places()
        self._spawn(self._remove_old(), "the retention")

    async def see_off(self) -> None:
        """The machine goes down: begin nothing more, and let what no unit of its own stops back up and end."""
        self._is_leaving = True
        await self.wait_adopted()
        await see_off(self._runs.values(), self.farewell_s)

    @property
    def farewell_s(self) -> float:
        """The longest that `see_off` takes, in seconds."""
        return self._policy.stop.grace_s + self._policy.stop.term_s + _FAREWELL_MARGIN_S

    # How it stands.

    @property
    def is_adopted(self) -> bool:
        """Whether every run that was there is known as it is now, and held where it lives."""
        return self._adopted.is_set()

    async def wait_adopted(self) -> None:
        """Return when `is_adopted`."""
        await self._adopted.wait()

    @property
    def is_at_work(self) -> bool:
        """Whether every run that an earlier daemon left is adopted, and this one does not leave."""
        return self.is_adopted and not self._is_leaving

    @property
    def places(self) -> int:
        """How many runs may be at work at the same time."""
        return self._policy.max_concurrent_runs

    @property
    def rooms(self) -> Sequence[Room]:
        """As `DiskGuard.rooms`."""
        return self._disk.rooms

    @property
    def disk_level(self) -> DiskLevel:
        """As `DiskGuard.level`."""
        return self._disk.level

    # Asking.

    async def start_now(self, spec: RunSpec) -> LiveRun:
        """Start a run at once.

        Raises:
            ConflictError: every place is taken (code `run_active`). Of two calls at the same moment exactly one wins.
            UnavailableError: the run could not be created or started.
        """
        self._refuse_if_full()
        run = self._create(spec)
        try:
            await self._begin(run)
        except DaemonError:
            if run.view.state is RunState.QUEUED:  # its start could not even be recorded: it must not begin later, behind the client's back
                self._forget(run)
            raise
        return run

    def submit(self, spec: RunSpec) -> LiveRun:
        """Queue a run; it starts when there is a place. Raises UnavailableError when it cannot be put on disk."""
        run = self._create(spec)
        self.bell.ring()
        self._fill_places()
        return run

    async def stop(self, run: LiveRun, *, force: bool = False, grace_s: float | None = None, term_s: float | None = None) -> None:
        """Stop a training by its ladder, or take out a run that is queued, released or waits for its restart.

        Raises:
            ConflictError: it has ended already (code `ended`).
            UnavailableError: its runner does not answer.
        """
        if run.orphan is not None:
            run.end_orphan(force=force)
            return
        if run.view.state in ENDED:
            raise ConflictError(f"run {run.run_id} has ended already: {run.view.state}", code="ended", run_id=run.run_id)
        if run.view.is_live:
            periods = {"grace_s": grace_s, "term_s": term_s}
            await run.stop({"force": force, **{key: value for key, value in periods.items() if value is not None}})
        else:
            run.cancel()
            self._restarts.cancel(run)
            self._fill_places()

    async def resume(self, run: LiveRun) -> None:
        """Go on with a held training, or with a released one from the backup that its release made.

        Raises:
            ConflictError: it is not paused, or another run has its place.
            UnavailableError: it could not be started again, or its runner does not answer.
        """
        if run.view.state is not RunState.RELEASED:
            await run.send("resume", settle_s=2.0)
            return
        await run.wait_let_go()
        self._refuse_if_full()
        await self._begin(run)

    # Doing.

    def _refuse_if_full(self) -> None:
        busy = [run for run in self._runs.values() if run.occupies_a_place]
        if len(busy) >= self._policy.max_concurrent_runs:
            first = busy[0]
            what = "has lost its runner, and its trainer still lives" if first.orphan else f"is {first.view.state}"
            raise ConflictError(
                f"run {first.run_id} {what}; stop it first, or queue this one with POST /runs", code="run_active", run_id=first.run_id
            )

    def _trainer(self, backend: str) -> Trainer:
        """Raises DaemonError where the backend is not there, or not any more."""
        find = self._trainers.get(backend)
        if find is None:
            raise UnavailableError(
                f"this daemon has no {backend!r} trainer; it has: {', '.join(self._trainers)}. Set ONETRAINER_HOME for OneTrainer",
                code="no_backend",
            )
        return find()

    def _create(self, spec: RunSpec) -> LiveRun:
        self._trainer(spec.backend)
        try:
            stored = self._store.create(spec, self._clock.now())
        except OSError as error:
            raise UnavailableError(f"the run could not be put on disk: {error}", code="disk") from error
        run = self._open(stored)
        run.take_in()
        return run

    def _open(self, stored: StoredRun) -> LiveRun:
        run = LiveRun(stored, self.bell, self.sightings)
        self._runs[run.run_id] = run
        return run

    def _forget(self, run: LiveRun) -> None:
        """Take back a run that has never begun."""
        del self._runs[run.run_id]
        run.close()
        shutil.rmtree(run.directory.path, ignore_errors=True)

    async def _begin(self, run: LiveRun) -> None:
        """Take the place now, before the first await, then start. Shielded: a client that hangs up must not leave a start half done."""
        await asyncio.shield(self._begin_soon(run))

    async def _start(self, run: LiveRun) -> None:
        try:
            await run.launch(self._launcher, functools.partial(self._launch_file, run.stored.backend))
        except DaemonError:
            self._attempt_is_over(run)
            raise
        # A context of its own: the run outlives the request that began it, whose id its lines of log would else bear for days.
        self._spawn(self._hold(run), f"run {run.run_id}", contextvars.Context())

    def _launch_file(self, backend: str, attempt: AttemptDirectory, continue_from: str | None) -> Record:
        return launch_file(attempt, self._trainer(backend), self._archive, self._policy.stop, continue_from)

    async def _hold(self, run: LiveRun) -> None:
        self.sightings.open(run)
        await run.hold()
        self._attempt_is_over(run)

    def _attempt_is_over(self, run: LiveRun) -> None:
        if run.view.state is RunState.WAITING_RESTART:
            self._restarts.expect(run)
        self._fill_places()
        self._spawn(self._remove_old(), "the retention")

    async def _remove_old(self) -> None:
        async with self._removing:
            if await remove_old(self._runs, self._store, self._policy.retention, self._clock.now(), self.current):
                self.bell.ring()

    def _fill_places(self) -> None:
        """Start queued runs, oldest first, as far as there is room. One that cannot be started keeps no other from it."""
        if not self.is_adopted or self._is_leaving:
            return
        free = self._policy.max_concurrent_runs - sum(run.occupies_a_place for run in self._runs.values())
        for run in [run for run in self._runs.values() if run.view.state is RunState.QUEUED]:
            if free <= 0:
                return
            try:
                self._begin_soon(run)
                free -= 1
                self._stuck.discard(run.run_id)
            except DaemonError as error:
                if run.run_id not in self._stuck:  # it is tried again every few seconds
                    self._stuck.add(run.run_id)
                    _LOG.error("run %s stays in the queue: %s", run.run_id, error)

    def _begin_soon(self, run: LiveRun, backup: str | None = None) -> asyncio.Task[None]:
        """Begin the next attempt, from *backup* or from where the run itself says."""
        if self._is_leaving:
            raise UnavailableError("the machine is going down; nothing is started any more", code="going_down")
        if run.view.state is RunState.RELEASED:
            backup = run.view.last_backup
        elif run.view.state is RunState.QUEUED:
            backup = run.view.continued_from  # a later attempt, whose start an earlier daemon did not finish
        run.reserve(backup or run.stored.meta.get("continue_from"))
        self.current = run
        return self._spawn(self._start(run), f"start of {run.run_id}")

    def _open_all(self) -> list[LiveRun]:
        """The runs there are, each as it was at its last checkpoint."""
        opened: list[LiveRun] = []
        for stored in self._store.all():
            with self._left_alone_if_odd(stored):
                opened.append(self._open(stored))
        self.current = next((run for run in reversed(opened) if run.view.has_place), None)
        return opened

    async def _take_over(self, opened: list[LiveRun]) -> None:
        """Learn what has become of each run, hold those that live, and begin the daemon's own work."""
        at_once = asyncio.Semaphore(_CATCH_UPS)

        async def catch_up(run: LiveRun) -> None:
            async with at_once:
                with self._left_alone_if_odd(run.stored):
                    await run.catch_up()

        await asyncio.gather(*map(catch_up, opened))
        self.current = None
        held: list[LiveRun] = []
        for run in [run for run in opened if run.run_id in self._runs]:
            with self._left_alone_if_odd(run.stored):
                held += [run] if self._adopt(run) else []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KNOWN_S):
                await asyncio.gather(*(run.wait_known() for run in held))
        if self.current is None:
            self.current = next((run for run in self.runs() if run.view.state is RunState.RELEASED), None)
        if not any(run.occupies_a_place for run in self._runs.values()):
            remove_unused(self._archive.parent, {self._archive})
        self._adopted.set()
        self._fill_places()
        self._spawn(self._every(STALL_LOOK_S, self._stalls.look), "the stall watch")
        self._spawn(self._every(DISK_LOOK_S, self._look_at_disks), "the disk guard")
        self._spawn(self._remove_old(), "the retention")
        self.bell.ring()

    @contextlib.contextmanager
    def _left_alone_if_odd(self, stored: StoredRun) -> Iterator[None]:
        try:
            yield
        except DaemonError as error:
            _LOG.error("run %s is left alone: %s", stored.directory.run_id, error)
            self._runs.pop(stored.directory.run_id, None)
        except Exception:  # noqa: BLE001 - the outer edge of one run: nothing that lies in its directory may keep the daemon from the others
            _LOG.exception("run %s is left alone, since its directory cannot be read", stored.directory.run_id)
            self._runs.pop(stored.directory.run_id, None)

    def _adopt(self, run: LiveRun) -> bool:
        """Whether it is held from now on."""
        if run.view.state is RunState.WAITING_RESTART:
            _LOG.info("run %s waits for its restart", run.run_id)
            self.current = run
            self._restarts.expect(run)
        elif run.adopt():
            _LOG.info("run %s is adopted: %s", run.run_id, run.view.state)
            self.current = run if run.occupies_a_place else self.current
            self._spawn(self._hold(run), f"run {run.run_id}")
            return True
        return False

    async def _look_at_disks(self) -> None:
        """Room that has come back is also room for the record that a queued run begins with."""
        await self._disk.look()
        self._fill_places()

    async def _every(self, seconds: float, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                await look()
            except Exception:  # noqa: BLE001 - the outer edge of a watch: one look that fails must not be the last
                _LOG.exception("a look failed; the next one comes in %g s", seconds)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, DaemonError):
            _LOG.error("%s failed", task.get_name(), exc_info=error)
