"""Say that the samples folder of a run may have changed. Never what changed: a watcher's queue overflows without a word.

One watcher serves the folders of all live runs. Folders on network file systems have a second one that polls, since what another
machine writes there gives no event. Besides, each key is called every few seconds whatever the watchers say: a watcher that is
late, deaf or refused by the kernel costs seconds, and no sample. The threads below the watchers are in `watcher`.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self

import watchfiles

from daemon.samples.mounts import is_network
from daemon.samples.watcher import Place, Watcher

log = logging.getLogger(__name__)

_CLOSE_S: Final = 5.0


class _Entry:
    """A watched folder, and whether it changed since its last call began."""

    __slots__ = ("changed", "folder", "is_closed", "key")

    def __init__(self, key: str, folder: Path) -> None:
        self.key = key
        self.folder = os.fspath(folder)
        self.changed = asyncio.Event()
        self.changed.set()
        self.is_closed = False


class SampleWatch:
    """Calls *on_change* with a key when its folder may have changed, and every *interval_s* anyway.

    For one key there is one call at a time; what comes meanwhile leads to one more call after it. An error of *on_change* is
    logged, and the next call comes all the same. An async context manager, which owns its tasks and watcher threads; leaving it
    waits 5 s for calls in progress before it cancels them.
    """

    def __init__(
        self,
        on_change: Callable[[str], Awaitable[None]],
        *,
        interval_s: float = 5.0,
        watch: Callable[..., Any] = watchfiles.watch,
        network: Callable[[Path], bool] = is_network,
    ) -> None:
        """*watch* is watchfiles' function, *network* says which folders to poll."""
        self._on_change = on_change
        self._interval_s = interval_s
        self._network = network
        self._entries: dict[str, tuple[_Entry, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._replan = asyncio.Event()
        self._watchers = {polling: Watcher(watch, self._touch, polling=polling) for polling in (False, True)}
        self._planner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._planner = asyncio.create_task(self._keep_plan(), name="samples: which folders to watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        for key in list(self._entries):
            self.remove(key)
        if self._planner:
            self._planner.cancel()
            await asyncio.wait([self._planner])
        for watcher in self._watchers.values():
            await watcher.stop()
        if self._tasks:
            late = (await asyncio.wait(self._tasks, timeout=_CLOSE_S))[1]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def add(self, key: str, folder: Path) -> None:
        """Watch *folder*, which need not exist yet; the first call for *key* comes at once. A key already there moves to *folder*."""
        self.remove(key)
        entry = _Entry(key, folder)
        task = asyncio.create_task(self._serve(entry), name=f"samples: {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._entries[key] = (entry, task)
        self._replan.set()

    def touch(self, key: str) -> None:
        """Call for *key* now: somebody else knows that its folder changed. An unknown key is fine."""
        if key in self._entries:
            self._entries[key][0].changed.set()

    def remove(self, key: str) -> asyncio.Future[None]:
        """Begin no further call for *key*; an unknown key is fine.

        A call in progress goes on, since cutting it off could lose what it found. The result is done when it has ended, and need
        not be awaited; *on_change* itself must not await it.
        """
        if key not in self._entries:
            ended = asyncio.get_running_loop().create_future()
            ended.set_result(None)
            return ended
        entry, task = self._entries.pop(key)
        entry.is_closed = True
        entry.changed.set()
        self._replan.set()
        return asyncio.shield(task)

    async def _serve(self, entry: _Entry) -> None:
        while True:
            await _wait_set(entry.changed, self._interval_s)
            if entry.is_closed:
                return
            entry.changed.clear()
            try:
                await self._on_change(entry.key)
            except Exception:  # the task's outer edge: a disk that fails now may be well in five seconds
                log.exception("looking for samples of %s failed; again in %g s", entry.key, self._interval_s)

    def _touch(self, paths: set[str] | None) -> None:
        """*paths* changed; None: nobody knows what did."""
        for entry, _ in self._entries.values():
            if paths is None or any(path == entry.folder or path.startswith(entry.folder + "/") for path in paths):
                entry.changed.set()

    async def _keep_plan(self) -> None:
        """Keep the watchers on the folders that exist: they come, go and are made anew under the same name."""
        while True:
            self._replan.clear()
            try:
                plan = await asyncio.to_thread(self._plan, {entry.folder for entry, _ in self._entries.values()})
                for polling, watcher in self._watchers.items():
                    await watcher.watch_only(plan[polling])
            except Exception:  # the task's outer edge: the interval goes on without watchers
                log.exception("samples folders cannot be watched; they are still looked at every %g s", self._interval_s)
            await _wait_set(self._replan, self._interval_s)

    def _plan(self, folders: set[str]) -> dict[bool, frozenset[Place]]:
        plan: dict[bool, set[Place]] = {False: set(), True: set()}
        for folder in folders:
            try:
                status = os.stat(folder)  # noqa: PTH116 - names with any bytes, as os gives them
                folder.encode()  # watchfiles takes no name that is not UTF-8: the interval has to do
            except (OSError, UnicodeEncodeError):
                continue
            plan[self._network(Path(folder))].add((folder, status.st_dev, status.st_ino))
        return {polling: frozenset(places) for polling, places in plan.items()}


async def _wait_set(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until *event* is set, but not longer than *timeout_s*."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
