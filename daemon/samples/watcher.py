"""One thread below watchfiles, stopped and started again when the folders change: watchfiles takes its folders once."""

import asyncio
import errno
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

log = logging.getLogger(__name__)

Place = tuple[str, int, int]
"""A folder, its device and its inode: a folder made anew under its old name needs a new watch."""

_STOP_S: Final = 2.0
_RETRY_S: Final = 60.0
_POLL_DELAY_MS: Final = 1000
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Watcher:
    """Calls *on_paths* on the event loop with the paths that changed, or None when changes may have been missed."""

    def __init__(self, watch: Callable[..., Any], on_paths: Callable[[set[str] | None], None], *, polling: bool) -> None:
        self._watch = watch
        self._on_paths = on_paths
        self._polling = polling
        self._places: frozenset[Place] = frozenset()
        self._stop = threading.Event()
        self._ended: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._retry_at = 0.0
        self._complaints: set[str] = set()

    async def watch_only(self, places: frozenset[Place]) -> None:
        """Watch *places* and no others. A watcher that has failed is tried again, after a minute if the kernel had no room for it."""
        if places == self._places and (not places or self._is_running() or time.monotonic() < self._retry_at):
            return
        await self.stop()
        self._places = places
        if places:
            self._start(sorted(folder for folder, _, _ in places))

    async def stop(self) -> None:
        """End the thread. One that hangs in the kernel is left behind: it is a daemon thread and calls nobody any more."""
        self._stop.set()
        if self._ended is not None:
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._ended.wait()
                if self._thread is not None:
                    self._thread.join()  # it has said its last word: a matter of microseconds
            except TimeoutError:
                log.warning("the watcher of %s hangs and is left behind", ", ".join(place[0] for place in self._places))
        self._ended = None
        self._places = frozenset()

    def _is_running(self) -> bool:
        return self._ended is not None and not self._ended.is_set()

    def _start(self, folders: list[str]) -> None:
        self._stop = threading.Event()
        self._ended = asyncio.Event()
        arguments = (folders, self._stop, self._ended, asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._run, args=arguments, name="samples-watcher", daemon=True)
        self._thread.start()

    def _run(self, folders: list[str], stop: threading.Event, ended: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        def tell(call: Callable[..., None], *args: Any) -> None:
            with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
                loop.call_soon_threadsafe(call, *args)

        is_first = True
        try:
            # It yields an empty set when nothing comes: the first yield says that the watch stands, and what came before may be missed.
            for changes in self._watch(
                *folders, watch_filter=None, debounce=1000, step=50, rust_timeout=250, yield_on_timeout=True, stop_event=stop,
                raise_interrupt=False, force_polling=self._polling, poll_delay_ms=_POLL_DELAY_MS, ignore_permission_denied=True,
            ):  # fmt: skip
                if stop.is_set():
                    break
                if is_first or changes:
                    tell(self._on_paths, None if is_first else {path for _, path in changes})
                is_first = False
        except Exception as error:  # noqa: BLE001 - the thread's outer edge; whatever it is, the interval finds the samples
            tell(self._failed, error, folders, stop)
        finally:
            tell(ended.set)

    def _failed(self, error: Exception, folders: list[str], stop: threading.Event) -> None:
        if stop.is_set():
            return
        number = error.errno if isinstance(error, OSError) else None
        is_no_room = number in _NO_ROOM or "limit" in str(error)
        self._retry_at = time.monotonic() + (_RETRY_S if is_no_room else 0.0)
        self._on_paths(None)
        complaint = f"{type(error).__name__} {number}"
        if complaint not in self._complaints:
            self._complaints.add(complaint)
            advice = "; raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl)" if is_no_room else ""
            log.warning(
                "watching %s failed: %s: %s%s. New samples are still found, every few seconds",
                ", ".join(folders), type(error).__name__, error, advice,
            )  # fmt: skip
