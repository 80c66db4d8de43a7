"""Start real runners on real attempt folders, and wait for what their journals say."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipc.atomic import replace_json
from ipc.exit_record import ExitRecord, read_exit
from ipc.journal import JournalReader
from ipc.messages import Command, encode_command
from ipc.pipes import open_fifo, send_line
from ipc.process import ProcessIdentity
from ipc.run_directory import AttemptDirectory, RunDirectory

SCRIPT = Path(__file__).with_name("scripted_trainer.py")
DEADLINE_S = 30.0
Event = dict[str, Any]


class RunnerUnderTest:
    """One started runner."""

    def __init__(self, attempt: AttemptDirectory) -> None:
        self.attempt = attempt
        self.events: list[Event] = []
        self._reader = JournalReader(attempt.events)
        self._wake = open_fifo(attempt.wake_pipe)

    def identity(self, who: str = "runner") -> ProcessIdentity:

        return ProcessIdentity.from_json(json.loads(self.attempt.runner.read_text())[who])

    def wait_event(self, kind: str, condition: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first event of *kind*, among those seen or to come."""
        deadline = time.monotonic() + DEADLINE_S
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event["type"] == kind and condition(event):
                    return event
            seen = len(self.events)
            if not self._pull(deadline):
                raise AssertionError(f"no {kind} within {DEADLINE_S} s; there were {[event['type'] for event in self.events]}")

    def wait_end(self) -> ExitRecord:
        """Wait for the runner process itself, read all, and return its exit record."""
        pidfd = self.identity().open_pidfd()
        if pidfd is not None:
            ready, _, _ = select.select([pidfd], [], [], DEADLINE_S)
            os.close(pidfd)
            assert ready, "the runner did not end"
        while records := self._reader.read():
            self.events += records
        record = read_exit(self.attempt.exit)
        assert record is not None, self.attempt.runner_log.read_text()
        return record

    def send(self, name: str, identifier: str = "c1", **args: object) -> None:
        send_line(self.attempt.control_pipe, encode_command(Command(identifier, name, args)))

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def close(self) -> None:
        self._reader.close()
        os.close(self._wake)

    def _pull(self, deadline: float) -> bool:
        records = self._reader.read()
        while not records:
            ready, _, _ = select.select([self._wake], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            os.read(self._wake, 65536)
            records = self._reader.read()
        self.events += records
        return True


def start_runner(folder: Path, archive: Path, script: list[list[Any]], **changes: Any) -> RunnerUnderTest:
    """A runner whose trainer does *script*; *changes* go into launch.json."""
    attempt = prepare_attempt(folder, script, **changes)
    runner = RunnerUnderTest(attempt)
    result = launch_runner(archive, attempt)
    assert result.returncode == 0, result.stderr
    return runner


def prepare_attempt(folder: Path, script: list[list[Any]], **changes: Any) -> AttemptDirectory:
    """All that a runner needs, before it is started."""
    run = RunDirectory(folder / "000001-abcd")
    attempt = run.attempt(1)
    attempt.create()
    replace_json(run.config, {"script": script})
    launch = {
        "v": 1, "run_id": run.run_id, "attempt": 1, "backend": "scripted", "argv": [sys.executable, "-I", str(SCRIPT)],
        "cwd": str(folder), "env": {"PATH": os.environ["PATH"]}, "continue_from": None,
        "stop": {"grace_s": 20.0, "term_s": 20.0}, "console": {"max_bytes": 1 << 20}, **changes,
    }  # fmt: skip
    replace_json(attempt.launch, launch)
    return attempt


def launch_runner(archive: Path, attempt: AttemptDirectory) -> subprocess.CompletedProcess[str]:
    python = getattr(sys, "_base_executable", sys.executable)
    return subprocess.run(
        [python, "-I", "-S", str(archive), "runner", str(attempt.path)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
