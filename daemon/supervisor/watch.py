"""Waiting for a process by its pidfd, and for a wake pipe: the two descriptors that tell of a runner."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ipc.errors import IpcError
from ipc.locks import is_locked
from ipc.pipes import open_fifo
from ipc.process import ProcessIdentity

_POLL_S = 1.0


async def wait_gone(identity: ProcessIdentity | None, lock: Path | None = None) -> None:
    """Return when the process *identity* has ended; it need not be our child (pidfd_open(2)).

    Where the identity is not known, the file *lock*, which the process holds while it lives, is looked at every second instead.
    """
    if identity is None:
        while lock is not None and is_locked(lock):  # noqa: ASYNC110 - flock has no event to wait for
            await asyncio.sleep(_POLL_S)
        return
    pidfd = identity.open_pidfd()
    if pidfd is None:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


@contextlib.asynccontextmanager
async def wakes(pipe: Path, on_wake: Callable[[], None]) -> AsyncIterator[None]:
    """Call *on_wake* whenever the runner puts bytes into *pipe*. Without the pipe (it was removed) nothing is called."""
    loop = asyncio.get_running_loop()
    try:
        fd = open_fifo(pipe)
    except (OSError, IpcError):
        yield
        return

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):
            while len(os.read(fd, 65536)) == 65536:
                pass
        on_wake()

    loop.add_reader(fd, drain)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        os.close(fd)
