"""The trainer's Python and torch, asked of the trainer's interpreter in a process of its own: the daemon never imports torch.

Importing torch takes seconds, minutes on a cold network disk. So the answer is kept, in memory and in a file, for as long as its
fingerprint holds: the interpreter, torch's dist-info folder and the NVIDIA driver. A kept answer is served at once; one from the
life of an earlier daemon, and a failure older than a minute, is asked anew in the background meanwhile.
"""

import asyncio
import json
import logging
import math
import os
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from ipc.atomic import read_versioned, replace_json
from ipc.errors import IpcError

log = logging.getLogger(__name__)

NOT_INSTALLED: Final = "not installed"
_VERSION: Final = 1
_MAX_ANSWER_BYTES: Final = 65536
_RETRY_S: Final = 60.0

# Two lines: what is known before the import of torch, which may hang or crash, and what is known after it. Descriptor 1 is moved
# aside, since torch and its plug-ins print there.
_SCRIPT: Final = f"""
import json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
facts = dict(python_version=sys.version.split()[0], torch_version={NOT_INSTALLED!r}, cuda_available=False, cuda_version=None, error=None)
def tell():
    out.write(json.dumps(facts) + "\\n")
    out.flush()
try:
    from importlib.metadata import version
    facts["torch_version"] = version("torch")
except Exception:
    pass
tell()
try:
    import torch
    facts.update(torch_version=str(torch.__version__), cuda_version=torch.version.cuda, cuda_available=bool(torch.cuda.is_available()))
except ModuleNotFoundError as error:
    if error.name != "torch":
        facts["error"] = "importing torch failed: %s" % error
except Exception as error:
    facts["error"] = "importing torch failed: %s: %s" % (type(error).__name__, error)
tell()
"""


@dataclass(frozen=True, slots=True)
class TrainerFacts:
    """What the trainer runs on; *error* says why something is not known."""

    python_version: str = "unknown"
    torch_version: str = NOT_INSTALLED
    cuda_available: bool = False
    cuda_version: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "TrainerFacts":
        """Raises KeyError or TypeError on anything that `to_json` did not write."""
        version, error = value["cuda_version"], value["error"]
        return cls(
            str(value["python_version"]), str(value["torch_version"]), bool(value["cuda_available"]),
            None if version is None else str(version), None if error is None else str(error),
        )  # fmt: skip


class TrainerProbe:
    """Knows the trainer's Python and torch. An async context manager, which ends a probe in progress when it is left."""

    def __init__(self, interpreter: Path, cache_file: Path, *, deadline_s: float = 60.0) -> None:
        """*cache_file* lies in the state directory; it may be missing, thrown away or unreadable."""
        self._interpreter = interpreter
        self._cache_file = cache_file
        self._deadline_s = deadline_s
        self._kept: tuple[list[Any], TrainerFacts] | None = None
        self._ask_again_at = 0.0
        self._task: asyncio.Task[TrainerFacts] | None = None

    async def __aenter__(self) -> Self:
        self._kept = await asyncio.to_thread(self._load)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def get(self, *, wait: bool = True) -> TrainerFacts:
        """The facts; asked now when they are not known for the present interpreter and torch, by one probe for all callers.

        With *wait* false the last known ones come at once, and the probe goes on behind.
        """
        fingerprint = await asyncio.to_thread(find_fingerprint, self._interpreter)
        is_fresh = self._kept is not None and self._kept[0] == fingerprint
        if (not is_fresh or time.monotonic() >= self._ask_again_at) and self._task is None:
            self._task = asyncio.create_task(self._refresh(fingerprint), name="probe the trainer's Python")
        if self._kept is not None and (is_fresh or not wait):
            return self._kept[1]
        if wait and self._task is not None:
            return await asyncio.shield(self._task)
        return TrainerFacts(error=f"{self._interpreter} is being asked for its Python and torch; ask again in a few seconds")

    async def _refresh(self, fingerprint: list[Any]) -> TrainerFacts:
        try:
            facts = await probe(self._interpreter, self._deadline_s)
            self._kept = (fingerprint, facts)
            self._ask_again_at = math.inf if facts.error is None else time.monotonic() + _RETRY_S
            if facts.error is None:
                await asyncio.to_thread(self._save, fingerprint, facts)
            else:
                log.warning("the trainer's Python: %s", facts.error)
            return facts
        finally:
            self._task = None

    def _load(self) -> tuple[list[Any], TrainerFacts] | None:
        try:
            value = read_versioned(self._cache_file, _VERSION)
            return list(value["fingerprint"]), TrainerFacts.from_json(value["facts"])
        except (OSError, IpcError, KeyError, TypeError):
            return None  # it can be found out again

    def _save(self, fingerprint: list[Any], facts: TrainerFacts) -> None:
        try:
            replace_json(self._cache_file, {"v": _VERSION, "fingerprint": fingerprint, "facts": facts.to_json()})
        except (OSError, ValueError) as error:  # ValueError: an interpreter whose path is not UTF-8
            log.warning("%s cannot be written, the next daemon will ask the trainer's Python again: %s", self._cache_file, error)


def find_fingerprint(interpreter: Path) -> list[Any]:
    """What the facts depend on, as far as it can be seen without running anything: JSON, equal as long as nothing changed."""
    try:
        interpreter_time = interpreter.stat().st_mtime_ns
    except OSError:
        interpreter_time = 0
    torches = sorted(
        [os.fspath(folder), folder.stat().st_mtime_ns]
        for folder in interpreter.parent.parent.glob("lib*/python3*/*-packages/torch-*.dist-info")
    )
    try:
        driver = Path("/sys/module/nvidia/version").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        driver = ""
    return [os.fspath(interpreter), interpreter_time, torches, driver]


async def probe(interpreter: Path, deadline_s: float = 60.0) -> TrainerFacts:
    """Run *interpreter* and ask it. Never raises; past the deadline, or cancelled, its whole process group is killed."""
    environment = {**os.environ, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # else the question alone would make a CUDA context
    for name in ("PYTHONPATH", "PYTHONHOME"):  # meant for the daemon's Python, not for this one
        environment.pop(name, None)
    # Files, not pipes: a grandchild that keeps a pipe open would keep us waiting, and an endless printer would fill our memory.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        try:
            process = await asyncio.create_subprocess_exec(
                interpreter, "-c", _SCRIPT, stdin=asyncio.subprocess.DEVNULL, stdout=answer, stderr=complaint,
                cwd="/", env=environment, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            return TrainerFacts(error=f"{interpreter} cannot be run: {error}; set ONETRAINER_PYTHON to the trainer's Python")
        is_late = False
        try:
            async with asyncio.timeout(deadline_s):
                await process.wait()
        except TimeoutError:
            is_late = True
        finally:
            if process.returncode is None:
                _kill_group(process.pid)
                await process.wait()
        facts = _last_answer(os.pread(answer.fileno(), _MAX_ANSWER_BYTES, 0))
        said = os.pread(complaint.fileno(), 2000, max(0, os.fstat(complaint.fileno()).st_size - 2000)).decode("utf-8", "replace").strip()
    if is_late:
        problem: str | None = f"{interpreter} did not answer within {deadline_s:g} s"
    elif facts is None or process.returncode != 0:
        problem = f"{interpreter} ended with code {process.returncode}: {said[-500:] or 'it said nothing'}"
    else:
        return facts
    known = facts or TrainerFacts()
    return TrainerFacts(known.python_version, known.torch_version, error=problem)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended this very moment


def _last_answer(data: bytes) -> TrainerFacts | None:
    for line in reversed(data.split(b"\n")):
        try:
            return TrainerFacts.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue
    return None
