"""The runner process: apart from whoever started us, or as the process that a unit holds. Take the lock, say so, supervise."""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ipc import PROTOCOL_VERSION, __version__
from ipc.atomic import read_versioned, replace_json
from ipc.core_dumps import forbid_core_dumps
from ipc.locks import FileLock
from ipc.pipes import open_fifo
from ipc.process import ProcessIdentity
from ipc.run_directory import AttemptDirectory
from ipc.run_socket import StartAnswer
from trainer_runner.runner.keeper import JournalKeeper
from trainer_runner.runner.supervise import Runner


def main(arguments: Sequence[str]) -> int:
    """Start a runner for the attempt folder in *arguments*; 0 when it is at work, 1 with the reason on stderr.

    The runner is a grandchild in a session of its own: it belongs to no terminal and is nobody's zombie.
    With `--answer-fd N` it is this very process, for a supervisor that holds its main process: whether it is at work is told to that
    descriptor (`ipc.run_socket`), and the exit code comes with the end of the run.
    """
    match arguments:
        case [folder]:
            return _start_apart(AttemptDirectory(Path(folder).absolute()))
        case ["--answer-fd", number, folder] if number.isdecimal():
            # Out of the way of 0, 1 and 2, which are replaced; what os.dup makes, the trainer does not inherit.
            return _be_the_runner(AttemptDirectory(Path(folder).absolute()), os.dup(int(number)))
        case _:
            sys.stderr.write("usage: runner [--answer-fd N] ATTEMPT_FOLDER\n")
            return 2


def _start_apart(attempt: AttemptDirectory) -> int:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.setsid()
        _be_the_runner(attempt, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        line = pipe.read()
    answer = StartAnswer.decode(line) if line else StartAnswer(False, f"the runner died at its start; see {attempt.runner_log}")
    if answer.started:
        return 0
    os.waitpid(pid, 0)
    sys.stderr.write(f"{answer.message}\n")
    return 1


def _be_the_runner(attempt: AttemptDirectory, tell: int) -> NoReturn:
    status = 1
    try:
        forbid_core_dumps()
        _redirect(attempt)
        runner = _prepare(attempt)
        StartAnswer(True).send(tell)
        os.close(tell)
        tell = -1
        runner.run()
        status = 0
    except BaseException as error:  # noqa: BLE001 - the outer edge of the process
        if tell >= 0:
            StartAnswer(False, f"{type(error).__name__}: {error}").send(tell)
        with contextlib.suppress(OSError):  # the log may lie on a full disk
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(status)


def _prepare(attempt: AttemptDirectory) -> Runner:
    lock = FileLock(attempt.lock)
    lock.acquire()
    launch = read_versioned(attempt.launch, PROTOCOL_VERSION)  # under the lock: a daemon that gave this start up removed it
    if attempt.events.is_dir() and any(attempt.events.iterdir()):
        raise RuntimeError(f"{attempt.path} has been run already; a new try is a new attempt")
    identity = ProcessIdentity.of(os.getpid()).to_json()
    record = {"v": PROTOCOL_VERSION, "nonce": os.urandom(8).hex(), "runner": identity}
    replace_json(attempt.runner, record)
    keeper = JournalKeeper(attempt.events, open_fifo(attempt.wake_pipe))
    keeper.append({
        "type": "runner.started", "run_id": launch["run_id"], "attempt": launch["attempt"], "version": __version__,
        "protocol": PROTOCOL_VERSION, "runner": identity,
    })  # fmt: skip
    return Runner(attempt, launch, keeper, record, lock)


def _redirect(attempt: AttemptDirectory) -> None:
    """stdin from /dev/null, stdout and stderr into runner.log: the starter's own may close at any moment."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        log = os.open(attempt.runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        log = null
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir("/")
