"""The trainer process: from its arguments to its exit code. Start-up, the backend's run, the last word."""

import argparse
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipc import PROTOCOL_VERSION
from ipc.atomic import read_versioned
from ipc.run_directory import AttemptDirectory
from trainer_runner.backends import load_backend
from trainer_runner.trainer.channel import Channel
from trainer_runner.trainer.orphan import Orphanage
from trainer_runner.trainer.reader import CommandReader
from trainer_runner.trainer.session import Session


def main(arguments: Sequence[str]) -> int:
    """Run one attempt. Exit code 0: the backend's `run` returned; 1: it raised, and an `error` event says what."""
    options = _parse(arguments)
    attempt = AttemptDirectory(options.attempt)
    for fd in (options.events_fd, options.commands_fd, options.console_fd):
        os.set_inheritable(fd, False)  # a child of ours that held them open would hide our death from the runner
    faulthandler.enable()
    orphanage = Orphanage(attempt, options.console_fd)
    channel = Channel(options.events_fd, orphanage.take_in)
    session: Session | None = None
    try:
        launch = read_versioned(attempt.launch, PROTOCOL_VERSION)
        session = Session(
            channel,
            _read(attempt.run.config),
            secrets=_read(attempt.run.secrets / "secrets.json"),
            continue_from=Path(launch["continue_from"]) if launch.get("continue_from") else None,
            understood_at=attempt.config,
        )
        reader = CommandReader(options.commands_fd, session, orphanage.redirect_console)
        reader.start((signal.SIGTERM,))
        outcome = load_backend(launch["backend"]).run(session)
    except Exception as error:  # noqa: BLE001 - the outer edge of the process: whatever it is, it becomes an event
        if session is not None:
            session.fail_open_commands(f"the training failed: {error}")
            session.error(_where(error), error, fatal=True)
        else:
            channel.emit("log", {"level": "error", "message": f"the trainer cannot begin: {error}"})
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    else:
        session.finished(outcome)
        return 0
    finally:
        channel.close()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trainer")
    parser.add_argument("--attempt", type=Path, required=True)
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--commands-fd", type=int, required=True)
    parser.add_argument("--console-fd", type=int, required=True)
    return parser.parse_args(arguments)


def _read(path: Path) -> "dict[str, Any]":
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    assert isinstance(value, dict)
    return value


def _where(error: BaseException) -> str:
    """A backend that knows better sets `where` on its exception."""
    where = getattr(error, "where", None)
    return where if isinstance(where, str) else "train"
