"""Samples of live runs: seen on disk, joined with what the trainer tells of them, and put into the run's history once each."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from daemon.runs.fold import Record
from daemon.runs.view import RunView
from daemon.samples.index import SampleIndex
from daemon.samples.names import SampleInfo, describe, moment_us
from daemon.samples.watch import SampleWatch
from daemon.supervisor.past_samples import told_samples
from ipc.run_directory import RunDirectory

_LOG = logging.getLogger(__name__)
_TOLD_WITHIN_S = 1.0
_PORTION = 32


class SampledRun(Protocol):
    """What is needed of a run here."""

    @property
    def run_id(self) -> str: ...
    @property
    def directory(self) -> RunDirectory: ...
    @property
    def view(self) -> RunView: ...
    def record(self, kind: str, fields: Record) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A whole file of which the trainer has not spoken yet; *until* by the loop's clock."""

    info: SampleInfo
    until: float


@dataclass
class _Folder:
    """The samples folder of one live run."""

    run: SampledRun
    index: SampleIndex
    announced: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    waiting: dict[str, _Waiting] = field(default_factory=dict)


class Sightings:
    """One watcher for all live runs. A file is announced when it is whole; the trainer's own word on it is waited for, a second at most."""

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}
        self._watch = SampleWatch(self._look)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._watch:
            yield

    def index(self, run_id: str) -> SampleIndex | None:
        """What is known of the folder of a live run; None when the run is not watched."""
        folder = self._folders.get(run_id)
        return folder.index if folder else None

    def open(self, run: SampledRun) -> None:
        """Watch the folder of *run* once its trainer has named it. What its history has announced already is not announced again."""
        samples_dir = run.view.samples_dir
        if samples_dir is None or run.run_id in self._folders:
            return
        told = [info for _, info in told_samples(run.directory)]
        folder = _Folder(run, SampleIndex(Path(samples_dir)), {info.path for info in told})
        folder.index.preload(reversed(told))
        self._folders[run.run_id] = folder
        self._watch.add(run.run_id, Path(samples_dir))

    def hear(self, run: SampledRun, record: Record) -> None:
        """A `trainer.ready` event names the folder; a `sample` event says what the file is that the trainer has just written."""
        self.open(run)
        folder = self._folders.get(run.run_id)
        path = record.get("path")
        if folder is None or not isinstance(path, str):
            return
        folder.told.add(path)
        folder.index.tell(path, record)
        if path in folder.waiting:
            self._announce(folder, folder.waiting.pop(path).info, record)
        else:
            self._watch.touch(run.run_id)

    async def finish(self, run: SampledRun) -> None:
        """The run has ended: look once more, announce what is whole, and stop watching."""
        folder = self._folders.get(run.run_id)
        if folder is None:
            return
        await self._watch.remove(run.run_id)
        await self._look(run.run_id)
        await self._announce_waiting(folder, math.inf)
        del self._folders[run.run_id]

    async def _look(self, key: str) -> None:
        folder = self._folders.get(key)
        if folder is None:
            return
        fresh = await asyncio.to_thread(folder.index.reconcile)
        loop = asyncio.get_running_loop()
        for number, info in enumerate(fresh):
            if info.path in folder.announced:
                continue
            if info.path in folder.told:
                self._announce(folder, info)
                await _let_others_work(number)
            elif moment_us(info.timestamp) >= (folder.run.view.created - 2.0) * 1e6:
                folder.waiting[info.path] = _Waiting(info, loop.time() + _TOLD_WITHIN_S)
        await self._announce_waiting(folder, loop.time())
        if folder.waiting:
            loop.call_later(_TOLD_WITHIN_S, self._watch.touch, key)

    async def _announce_waiting(self, folder: _Folder, until: float) -> None:
        """Those whose time is over by *until*; of the others the trainer may still say what they are."""
        for number, path in enumerate([path for path, one in folder.waiting.items() if one.until <= until]):
            if one := folder.waiting.pop(path, None):
                self._announce(folder, one.info)
            await _let_others_work(number)

    def _announce(self, folder: _Folder, info: SampleInfo, told: Record | None = None) -> None:
        folder.announced.add(info.path)
        if told is not None:
            with contextlib.suppress(OSError):
                info = describe(info.path, folder.index.samples_dir, Path(info.path).stat(), told)
        folder.run.record("sample.found", {"sample": info.to_json()})


async def _let_others_work(number: int) -> None:
    """Thousands may be found at once, and each is a record in a journal."""
    if number % _PORTION == _PORTION - 1:
        await asyncio.sleep(0)
