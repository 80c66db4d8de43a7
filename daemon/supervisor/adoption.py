"""What has become of an attempt, judged by its lock, its exit record and the proved identity of its processes. Signals nothing."""

import contextlib
import os
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from ipc import PROTOCOL_VERSION
from ipc.atomic import read_versioned
from ipc.errors import IpcError, LockHeldError
from ipc.exit_record import ExitRecord, read_exit
from ipc.locks import FileLock, is_locked
from ipc.process import ProcessIdentity
from ipc.run_directory import AttemptDirectory


class Condition(Enum):
    """How an attempt was found."""

    RUNNING = auto()
    EXITED = auto()
    NEVER_STARTED = auto()
    RUNNER_DEAD = auto()
    COPIED = auto()
    """The processes that it names live, and work in another directory, of which this one is a copy."""


@dataclass(frozen=True)
class Finding:
    """*runner* and *trainer* are there where they are alive and proved; *exit* where there is a record."""

    condition: Condition
    runner: ProcessIdentity | None = None
    trainer: ProcessIdentity | None = None
    exit: ExitRecord | None = None


def examine(attempt: AttemptDirectory) -> Finding:
    """Look at *attempt*. Files that cannot be read count as absent: the lock is what decides whether a runner lives."""
    runner, trainer = identities(attempt)
    trainer = trainer if trainer is not None and trainer.is_alive() else None
    if is_locked(attempt.lock):
        return Finding(Condition.RUNNING, runner if runner is not None and runner.is_alive() else None, trainer)
    if trainer is not None and _works_elsewhere(trainer, attempt):
        return Finding(Condition.COPIED)
    exit_record = None
    with contextlib.suppress(IpcError):
        exit_record = read_exit(attempt.exit)
    if exit_record is not None:
        return Finding(Condition.EXITED, exit=exit_record, trainer=trainer)
    if runner is None and not any(file.stat().st_size for file in attempt.events.glob("*.jsonl")):
        return Finding(Condition.NEVER_STARTED)
    return Finding(Condition.RUNNER_DEAD, trainer=trainer or _unrecorded_trainer(attempt))


def _works_elsewhere(trainer: ProcessIdentity, attempt: AttemptDirectory) -> bool:
    """Whether the command line of *trainer* names another attempt folder. One that is not there was moved, and is this one."""
    with contextlib.suppress(OSError, ValueError):
        words = Path(f"/proc/{trainer.pid}/cmdline").read_bytes().split(b"\0")
        return not attempt.path.samefile(os.fsdecode(words[words.index(b"--attempt") + 1]))
    return False


def _unrecorded_trainer(attempt: AttemptDirectory) -> ProcessIdentity | None:
    """The living trainer of *attempt* whose runner died before it could write down who it is: the leader of a session of its own, whose
    command line names the attempt as PROTOCOL.md says."""
    wanted = b"\0--attempt\0" + os.fsencode(attempt.path) + b"\0--events-fd\0"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(process.name)
            if wanted in (process / "cmdline").read_bytes() and os.getsid(pid) == pid:
                return ProcessIdentity.of(pid)
        except OSError:
            continue
    return None


def give_up_start(attempt: AttemptDirectory) -> bool:
    """Make sure that a start which was cut short never happens late; False when its runner has come after all."""
    if not attempt.path.exists():
        return True
    lock = FileLock(attempt.lock)
    try:
        lock.acquire()
    except LockHeldError:
        return False
    attempt.launch.unlink(missing_ok=True)
    lock.release()
    return True


def identities(attempt: AttemptDirectory) -> tuple[ProcessIdentity | None, ProcessIdentity | None]:
    """Runner and trainer as runner.json names them; None for what it does not."""
    try:
        record = read_versioned(attempt.runner, PROTOCOL_VERSION)
    except (OSError, IpcError):
        return None, None
    found: list[ProcessIdentity | None] = []
    for key in ("runner", "trainer"):
        try:
            found.append(ProcessIdentity.from_json(record[key]))
        except (KeyError, TypeError, ValueError):
            found.append(None)
    return found[0], found[1]
