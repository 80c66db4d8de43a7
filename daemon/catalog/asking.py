"""Ask the trainer's Python, in a process of its own: bounded in time and in what it may say, its whole group killed afterwards."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.config.described import Described
from daemon.errors import UnavailableError

_MAX_ANSWER_BYTES = 16 << 20
_PRIVATE = ("ONETRAINERD_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM")
_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Asked:
    """Whom to ask: the trainer's interpreter and folder, and the packed archive that holds the questions."""

    backend: str
    python: Path
    cwd: Path
    archive: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, what: str) -> list[str]:
        return [str(self.python), str(self.archive), "catalog", self.backend, what]

    def environment(self) -> dict[str, str]:
        """Ours without what is ours alone; and torch is not to make a CUDA context just to be asked."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_PRIVATE) and key not in _FOREIGN}
        return {**kept, "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "PYTHONUNBUFFERED": "1", **self.env}


async def describe(asked: Asked, deadline_s: float) -> Described:
    """The catalog, as it is now.

    Raises:
        UnavailableError: it cannot be had, and why, in a line (code `no_catalog`).
    """
    # Files, not pipes: a grandchild that keeps a pipe open would keep us waiting, and an endless printer would fill our memory.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        async with _started(asked, "describe", stdin=asyncio.subprocess.DEVNULL, stdout=answer, stderr=complaint) as process:
            try:
                async with asyncio.timeout(deadline_s):
                    await process.wait()
            except TimeoutError:
                raise _failed(asked, f"did not describe its configs within {deadline_s:g} s") from None
        value = await asyncio.to_thread(_last_line, answer.fileno())
        said = tail_of(complaint.fileno())
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        raise UnavailableError(value["error"][:1000], code="no_catalog")
    try:
        return Described.from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _failed(asked, f"ended with code {process.returncode}: {said or 'it said nothing'}") from error


@contextlib.asynccontextmanager
async def _started(asked: Asked, what: str, **files: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(asked, what, **files)
    try:
        yield process
    finally:
        await end(process)


async def start(asked: Asked, what: str, **files: Any) -> asyncio.subprocess.Process:
    """Raises UnavailableError (code `no_catalog`): its Python cannot be run."""
    try:
        return await asyncio.create_subprocess_exec(
            *asked.command(what), cwd=asked.cwd, env=asked.environment(), start_new_session=True, limit=_MAX_ANSWER_BYTES, **files
        )
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise _failed(asked, f"cannot be run: {error}") from error


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill *process* and all that it has begun, unless it has ended by itself, and reap it."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended this very moment
    await process.wait()


def tail_of(fd: int) -> str:
    """The last lines of a file that a process has written to."""
    size = os.fstat(fd).st_size
    return os.pread(fd, 500, max(0, size - 500)).decode("utf-8", "replace").strip()


def _failed(asked: Asked, what: str) -> UnavailableError:
    return UnavailableError(f"{asked.python} {what}", code="no_catalog")


def _last_line(fd: int) -> Any:
    data = os.pread(fd, _MAX_ANSWER_BYTES, 0)
    for line in reversed(data.split(b"\n")):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return None
