"""Drive a real runner and trainer as the daemon does: a run directory, the pipes, the journal. Knows nothing of the daemon."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import zipapp
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipc.exit_record import ExitRecord, read_exit
from ipc.journal import JournalReader
from ipc.messages import Command, encode_command
from ipc.pipes import open_fifo, send_line
from ipc.run_directory import AttemptDirectory, RunDirectory

ROOT = Path(__file__).parents[2]
Event = dict[str, Any]


def pack(folder: Path) -> Path:
    """The .pyz that the daemon would start: `ipc` and `trainer_runner`, from the source tree."""
    source = folder / "source"
    for package in ("ipc", "trainer_runner"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    shutil.copy(ROOT / "trainer_runner" / "__main__.py", source / "__main__.py")
    target = folder / "runner.pyz"
    zipapp.create_archive(source, target)
    return target


class Attempt:
    """One attempt at a run, with its events as they come."""

    def __init__(self, directory: AttemptDirectory) -> None:
        self.directory = directory
        self.events: list[Event] = []
        self._reader = JournalReader(directory.events)
        self._wake = open_fifo(directory.wake_pipe)
        self._next_command = 0

    def command(self, name: str, **args: Any) -> str:
        """Send a command; its id."""
        self._next_command += 1
        command_id = f"c{self._next_command}"
        send_line(self.directory.control_pipe, encode_command(Command(command_id, name, args)))
        return command_id

    def wait(self, wanted: Callable[[Event], bool], deadline_s: float = 120, after_seq: int = 0) -> Event:
        """The first event that is *wanted*; also one that has come already, if it is behind *after_seq*."""
        deadline = time.monotonic() + deadline_s
        seen = 0
        while True:
            self.events += self._reader.read()
            for event in self.events[seen:]:
                if event["seq"] > after_seq and wanted(event):
                    return event
            seen = len(self.events)
            if self.events and self.events[-1]["type"] == "runner.exited":
                raise AssertionError(f"the attempt ended without it:\n{self.story()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing came in {deadline_s} s:\n{self.story()}")
            _wait_readable(self._wake, 0.2)

    def wait_type(self, event_type: str, deadline_s: float = 120, **fields: Any) -> Event:
        return self.wait(lambda event: event.items() >= {"type": event_type, **fields}.items(), deadline_s)

    def wait_step(self, number: int, deadline_s: float = 180) -> None:
        """Until the training has told a step of at least *number*."""
        self.wait(lambda event: any(row["global_step"] >= number for row in rows(event)), deadline_s)

    def answer(self, command_id: str, deadline_s: float = 120) -> Event:
        """The `command.done` or `command.failed` of a command."""
        return self.wait(lambda event: event["type"] in ("command.done", "command.failed") and event["id"] == command_id, deadline_s)

    def finish(self, deadline_s: float = 240) -> ExitRecord:
        """Wait for the end, and give the exit record."""
        self.wait(lambda event: event["type"] == "runner.exited", deadline_s)
        os.close(self._wake)
        self._reader.close()
        record = read_exit(self.directory.exit)
        assert record is not None
        return record

    def signal_trainer(self, number: signal.Signals) -> None:
        os.kill(int(self.wait_type("trainer.spawned")["trainer"]["pid"]), number)

    def of(self, event_type: str, **fields: Any) -> list[Event]:
        """The events of a type with these fields, of those that were read."""
        return [event for event in self.events if event.items() >= {"type": event_type, **fields}.items()]

    @property
    def steps(self) -> list[Event]:
        return [row for event in self.events for row in rows(event)]

    def story(self) -> str:
        console = self.directory.console
        tail = console.read_text(errors="replace")[-4000:] if console.exists() else ""
        told = [json.dumps({**event, "argv": None})[:600] for event in self.events[-40:]]
        return "\n".join([*told, "--- console ---", tail])


def rows(event: Event) -> list[Event]:
    """The steps in *event*, one row each."""
    match event["type"]:
        case "step":
            return [event]
        case "steps":
            return list(event["rows"])
        case _:
            return []


class Launcher:
    """Makes runs in *folder* and starts runners for them."""

    def __init__(self, folder: Path, pyz: Path, python: str, cwd: Path, backend: str) -> None:
        self._folder = folder
        self._pyz = pyz
        self.python = python
        self.home = cwd
        self._backend = backend
        self._runs = 0

    def start(
        self, config: dict[str, Any], *, continue_from: str | None = None, env: dict[str, str] | None = None,
        secrets: dict[str, Any] | None = None, cwd: Path | None = None, grace_s: float = 60,
    ) -> Attempt:  # fmt: skip
        """Start a run with *config*; the runner is at work when this returns."""
        self._runs += 1
        run = RunDirectory(self._folder / "runs" / f"{self._runs:06d}-0000")
        run.tmp.mkdir(parents=True)
        run.config.write_text(json.dumps(config))
        if secrets is not None:
            run.secrets.mkdir(mode=0o700)
            (run.secrets / "secrets.json").write_text(json.dumps(secrets))
        attempt = run.attempt(1)
        attempt.create()
        attempt.launch.write_text(json.dumps({
            "v": 1, "run_id": run.run_id, "attempt": 1, "backend": self._backend, "argv": [self.python, str(self._pyz), "trainer"],
            "cwd": str(cwd or self.home), "continue_from": continue_from,
            "stop": {"grace_s": grace_s, "term_s": 10},
            "console": {"max_bytes": 4 << 20},
            "env": {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(run.tmp), "CUDA_VISIBLE_DEVICES": "", **(env or {})},
        }))  # fmt: skip
        started = subprocess.run(
            [sys.executable, "-I", "-S", str(self._pyz), "runner", str(attempt.path)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert started.returncode == 0, started.stderr
        return Attempt(attempt)


def _wait_readable(fd: int, timeout_s: float) -> None:
    if select.select([fd], [], [], timeout_s)[0]:
        os.read(fd, 4096)
