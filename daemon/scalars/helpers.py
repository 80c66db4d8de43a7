"""The helper processes from the daemon's side: two at most, kept for a minute for the next question, killed when they don't answer."""

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Self

import orjson

from daemon.errors import UnavailableError
from daemon.scalars.query import Query
from ipc.run_directory import RunDirectory

_LOG = logging.getLogger(__name__)
FAILED = 2**32 - 1
"""Stands in the place of a length: an error follows."""

UNFILLED = "unfilled"
"""The code of an error that kept a store from being filled."""

_ANSWER_S = 60.0
_IDLE_S = 60.0
_AT_ONCE = 2
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    # glibc would give each column of megabytes back to the kernel, and fetch it again page by page: most of an answer's time (mallopt(3)).
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_TOP_PAD_": str(1 << 20),
}  # fmt: skip


class Helpers:
    """An async context manager, which ends the processes when it is left."""

    def __init__(self, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._timers: dict[Process, asyncio.TimerHandle] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in list(self._all):
            await self._end(process)

    def answer(self, path: Path, run_id: str, query: Query, is_complete: bool) -> AsyncGenerator[bytes]:
        """As `query.answer`, in a helper. Close it where it is not read to its end.

        Raises:
            UnavailableError: no helper can be started, or it does not answer.
        """
        return self._converse(["answer", str(path), run_id, query.to_json(), is_complete])

    async def fill(self, directory: RunDirectory, budget_s: float) -> bool:
        """As `Filler.fill`, in a helper.

        Raises:
            OSError: as there.
            UnavailableError: as `answer`.
        """
        try:
            return b"true" in [piece async for piece in self._converse(["fill", str(directory.path), budget_s])]
        except UnavailableError as error:
            if error.code == UNFILLED:
                raise OSError(error.message) from error
            raise

    async def _converse(self, question: list[Any]) -> AsyncGenerator[bytes]:
        async with self._places:
            process = await self._take()
            is_done = False
            try:
                assert process.stdin is not None
                process.stdin.write(orjson.dumps(question) + b"\n")
                while piece := await _frame(process):
                    yield piece
                is_done = True
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                why = "it does not answer" if isinstance(error, TimeoutError) else "it has died; the log says more"
                raise UnavailableError(f"the helper for scalars failed: {why}; ask again", code="no_scalars") from error
            finally:
                if is_done:
                    self._give_back(process)
                else:
                    await asyncio.shield(self._end(process))

    async def _take(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            self._timers.pop(process).cancel()
            if process.returncode is None:
                return process
            self._all.discard(process)
        try:
            # -P: the working directory may hold a folder that is called like one of our packages.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "daemon.scalars.helper", stdin=PIPE, stdout=PIPE,
                env={**os.environ, **_ENVIRONMENT}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise UnavailableError(f"no helper for scalars can be started: {error}", code="no_scalars") from error
        self._all.add(process)
        return process

    def _give_back(self, process: Process) -> None:
        self._idle.append(process)
        self._timers[process] = asyncio.get_running_loop().call_later(self._idle_s, self._let_go, process)

    def _let_go(self, process: Process) -> None:
        """It ends by itself when its stdin does."""
        self._idle.remove(process)
        del self._timers[process]
        self._all.discard(process)
        if process.stdin is not None:
            process.stdin.close()

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        if process in self._timers:
            self._timers.pop(process).cancel()
            self._idle.remove(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _frame(process: Process) -> bytes:
    """The next frame; empty at the end. Raises UnavailableError where it tells of an error."""
    assert process.stdout is not None
    async with asyncio.timeout(_ANSWER_S):
        length = int.from_bytes(await process.stdout.readexactly(4), "big")
        if length == FAILED:
            message, code = orjson.loads(await _frame(process))
            raise UnavailableError(message, code=code)
        return await process.stdout.readexactly(length)
