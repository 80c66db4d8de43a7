"""The trainer's own code reads a config: a worker process under its Python, kept warm for a while, since its imports take seconds."""

import asyncio
import json
import logging
import tempfile
from collections.abc import Mapping
from typing import IO, Any, Final, Self

from daemon.catalog import asking
from daemon.catalog.asking import Asked
from daemon.catalog.keeper import Catalog
from daemon.config.validation import Reading
from daemon.errors import UnavailableError

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 8


class DeepReader:
    """One worker at a time, and one question to it at a time. An async context manager that ends the worker."""

    def __init__(self, asked: Asked, catalog: Catalog, *, start_s: float = 180.0, answer_s: float = 30.0, idle_s: float = 60.0) -> None:
        """*idle_s*: so long a worker without questions lives; it holds 600 MB, for torch is what OneTrainer's configs import."""
        self._asked = asked
        self._catalog = catalog
        self._start_s = start_s
        self._answer_s = answer_s
        self._idle_s = idle_s
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._worker: _Worker | None = None
        self._idle: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._idle is not None:
            self._idle.cancel()
            await asyncio.wait([self._idle])
        await self._end()

    async def read(self, config: Mapping[str, Any]) -> Reading:
        """What the trainer makes of *config*, which is without secrets, its concepts and samples inside.

        Raises:
            UnavailableError: the worker does not start, answer or understand, or too many wait for it (code `no_deep_validation`).
        """
        if self._waiting >= _MAX_WAITING:
            raise _unavailable(f"{self._waiting} validations in depth wait already; ask again in a while")
        self._waiting += 1
        try:
            async with self._lock:
                if self._idle is not None:
                    self._idle.cancel()
                try:
                    answer = await self._ask(config)
                except BaseException:  # cancelled, or out of step: whatever it is, the next question gets a new worker
                    await self._end()
                    raise
                self._idle = asyncio.create_task(self._end_when_idle(), name="end the idle worker")
        finally:
            self._waiting -= 1
        return _reading(answer)

    async def _ask(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fingerprint = await self._catalog.fingerprint()
        if self._worker is not None and (self._worker.fingerprint != fingerprint or self._worker.has_ended):
            await self._end()
        if self._worker is None:
            self._worker = await _Worker.start(self._asked, fingerprint, self._start_s)
        return await self._worker.ask(config, self._answer_s)

    async def _end_when_idle(self) -> None:
        await asyncio.sleep(self._idle_s)
        async with self._lock:
            await self._end()

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end()


class _Worker:
    """A process of PROTOCOL.md's `catalog … worker`."""

    def __init__(self, process: asyncio.subprocess.Process, complaint: IO[bytes], fingerprint: list[Any]) -> None:
        self._process = process
        self._complaint = complaint
        self.fingerprint = fingerprint

    @classmethod
    async def start(cls, asked: Asked, fingerprint: list[Any], deadline_s: float) -> "_Worker":
        complaint = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asking.start(asked, "worker", stdin=pipe, stdout=pipe, stderr=complaint)
        except BaseException:
            complaint.close()
            raise
        worker = cls(process, complaint, fingerprint)
        try:
            await worker._answer(deadline_s)
        except BaseException:
            await worker.end()
            raise
        return worker

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def ask(self, config: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(config).encode() + b"\n")
            async with asyncio.timeout(deadline_s):
                await self._process.stdin.drain()
        except (OSError, TimeoutError) as error:
            raise _unavailable(f"the trainer's Python takes no question: {type(error).__name__}: {error}") from error
        return await self._answer(deadline_s)

    async def _answer(self, deadline_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(deadline_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise _unavailable(f"the trainer's Python did not answer within {deadline_s:g} s") from None
        except ValueError as error:
            raise _unavailable("the trainer's Python answered with too much") from error
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise _unavailable(f"the trainer's Python ended: {asking.tail_of(self._complaint.fileno()) or 'it said nothing'}") from error
        if not isinstance(answer, dict) or "error" in answer:
            raise _unavailable(str(answer["error"] if isinstance(answer, dict) else answer)[:1000])
        return answer

    async def end(self) -> None:
        try:
            await asking.end(self._process)
        finally:
            self._complaint.close()


def _reading(answer: Mapping[str, Any]) -> Reading:
    try:
        refused = [(tuple(item["path"]), str(item["message"])) for item in answer["refused"]]
        return Reading(refused, [tuple(path) for path in answer["unknown"]], answer["config"])
    except (KeyError, TypeError) as error:
        raise _unavailable(f"the trainer's Python answered in another form than {__name__} knows: {error!r}") from error


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, code="no_deep_validation")
