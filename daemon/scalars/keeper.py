"""Keeps the stores of all runs filled, off the event loop, and answers from them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from daemon.errors import UnavailableError
from daemon.scalars.filling import Filler
from daemon.scalars.helpers import Helpers
from daemon.scalars.query import GARBLED, Query, light_answer, overview
from daemon.scalars.store import Series
from ipc.run_directory import RunDirectory

_LOG = logging.getLogger(__name__)
LOOK_S = 5.0
"""How far a store lags that nobody asks: an answer fills it first. Often enough, and seldom enough to spare the disk."""

_PORTION_S = 0.05
_STINT_S = 0.5
_WAIT_S = 1.0


class Subject(NamedTuple):
    """A run: its directory, and a *version* that changes whenever its journals have grown. *is_live*: they will grow further."""

    directory: RunDirectory
    version: object
    is_live: bool


@dataclass(slots=True)
class _Desk:
    """What belongs to one run. Whoever fills holds the lock."""

    filler: Filler
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    filled: object = None
    trouble: str = ""


class ScalarKeeper:
    """Use it as `async with`. Each run has its own lock: one that is filled from its beginning delays no other."""

    def __init__(self, subjects: Callable[[], Iterable[Subject]], look_s: float = LOOK_S) -> None:
        """*subjects* gives all runs, newest first."""
        self._subjects = subjects
        self._look_s = look_s
        self._helpers = Helpers()
        self._desks: dict[str, _Desk] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep(), name="the scalars' keeper")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for desk in self._desks.values():
            await asyncio.to_thread(desk.filler.close)
        await self._helpers.__aexit__()

    async def overview(self, directory: RunDirectory) -> tuple[list[Series], bool]:
        """All series of a run, and whether they are all that its journals hold. Raises UnavailableError as `answer`."""
        is_complete = await self._fill(directory, _WAIT_S)
        async with self._discarding(directory):
            return await asyncio.to_thread(overview, directory.scalars), is_complete

    async def answer(self, directory: RunDirectory, query: Query) -> AsyncGenerator[bytes]:
        """The body of the answer, in pieces. A CSV waits until the store is complete, JSON for a second, and says so.

        Raises:
            NotFoundError: a tag is not there (code `no_tag`); before the first piece.
            UnavailableError: the store cannot be read (code `no_scalars`), or has to be made anew (code `garbled_scalars`).
        """
        is_complete = await self._fill(directory, _WAIT_S if query.form == "json" else float("inf"))
        question = directory.scalars, directory.run_id, query, is_complete
        async with self._discarding(directory):
            light = await asyncio.to_thread(light_answer, *question)
            if light is not None:
                for piece in light:
                    yield piece
                return
            async with contextlib.aclosing(self._helpers.answer(*question)) as pieces:
                async for piece in pieces:
                    yield piece

    @contextlib.asynccontextmanager
    async def _discarding(self, directory: RunDirectory) -> AsyncIterator[None]:
        """Remove a store that is found garbled: an ended run's would be so for ever, since nothing is added to it."""
        try:
            yield
        except UnavailableError as error:
            if error.code == GARBLED:
                _LOG.warning("%s", error.message)
                desk = self._desk(directory)
                desk.filled = None
                await asyncio.to_thread(desk.filler.discard)
            raise

    def _desk(self, directory: RunDirectory) -> _Desk:
        return self._desks.setdefault(directory.run_id, _Desk(Filler(directory)))

    async def _fill(self, directory: RunDirectory, budget_s: float) -> bool:
        """Fill the store, for about *budget_s*; whether it has all that the journals hold."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + budget_s
        desk = self._desk(directory)
        while True:
            async with desk.lock:
                is_complete = await self._portion(desk, directory)
            if is_complete or desk.trouble:
                return is_complete
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(0)

    async def _portion(self, desk: _Desk, directory: RunDirectory) -> bool:
        """What a live training has added is taken in here, in a thread. A store that is far behind is filled by a helper: a thread that
        computes for long makes the loop wait for the interpreter's lock."""
        run_id = directory.run_id
        try:
            is_complete = await asyncio.to_thread(desk.filler.fill, _PORTION_S)
            if not is_complete:
                await asyncio.to_thread(desk.filler.close)
                is_complete = await self._helpers.fill(directory, _STINT_S)
        except (OSError, UnavailableError) as error:
            if desk.trouble != str(error):
                _LOG.error("the scalars of run %s cannot be kept, which is tried again: %s", run_id, error)
            desk.trouble = str(error)
            return False
        desk.trouble = ""
        return is_complete

    async def _keep(self) -> None:
        while True:
            subjects = list(self._subjects())
            for gone in self._desks.keys() - {subject.directory.run_id for subject in subjects}:
                await asyncio.to_thread(self._desks.pop(gone).filler.close)
            for subject in subjects:
                try:
                    await self._look(subject)
                except Exception:  # noqa: BLE001 - the outer edge of one run: whatever lies in its directory, the others are kept
                    _LOG.exception("the scalars of run %s cannot be kept", subject.directory.run_id)
            await asyncio.sleep(self._look_s)

    async def _look(self, subject: Subject) -> None:
        desk = self._desk(subject.directory)
        if desk.filled != subject.version and await self._fill(subject.directory, float("inf")):
            desk.filled = subject.version
        if not subject.is_live and desk.filler.is_open:
            await asyncio.to_thread(desk.filler.close)
