"""The paths inside a state directory, as PROTOCOL.md draws them. Makes folders; reads and writes no content."""

import os
import re
from pathlib import Path
from typing import NamedTuple

RUN_ID = re.compile(r"[0-9]{6}-[0-9a-f]{4}")


class AttemptDirectory(NamedTuple):
    """`runs/<run_id>/attempts/<n>/`: one runner, one trainer, one journal."""

    path: Path

    @property
    def number(self) -> int:
        return int(self.path.name)

    @property
    def run(self) -> "RunDirectory":
        return RunDirectory(self.path.parent.parent)

    @property
    def launch(self) -> Path:
        return self.path / "launch.json"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def control_pipe(self) -> Path:
        return self.path / "control.pipe"

    @property
    def wake_pipe(self) -> Path:
        return self.path / "wake.pipe"

    @property
    def commands(self) -> Path:
        return self.path / "commands"

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def orphan_console(self) -> Path:
        return self.path / "console.orphan.log"

    @property
    def orphan_events(self) -> Path:
        return self.path / "orphan"

    @property
    def runner(self) -> Path:
        return self.path / "runner.json"

    @property
    def lock(self) -> Path:
        return self.path / "runner.lock"

    @property
    def runner_log(self) -> Path:
        return self.path / "runner.log"

    @property
    def exit(self) -> Path:
        return self.path / "exit.json"

    def create(self) -> None:
        """Make the folder with its pipes, all at once: it appears under its name only when it is whole.

        Raises:
            FileExistsError: the attempt exists.
            OSError: no room or no right.
        """
        if self.path.exists():
            raise FileExistsError(f"{self.path} exists already")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = AttemptDirectory(self.path.with_name(f".{self.path.name}.{os.getpid()}"))
        draft.path.mkdir()
        draft.commands.mkdir()
        draft.events.mkdir()
        os.mkfifo(draft.control_pipe, 0o600)
        os.mkfifo(draft.wake_pipe, 0o600)
        draft.path.rename(self.path)


class RunDirectory(NamedTuple):
    """`runs/<run_id>/`: everything that there is of one run, but for its workspace."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def daemon(self) -> Path:
        return self.path / "daemon"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints.jsonl"

    @property
    def scalars(self) -> Path:
        return self.path / "scalars.db"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    def attempt(self, number: int) -> AttemptDirectory:
        return AttemptDirectory(self.path / "attempts" / str(number))

    def attempts(self) -> "list[AttemptDirectory]":
        """The attempts there are, in order."""
        folder = self.path / "attempts"
        names = os.listdir(folder) if folder.is_dir() else []
        return [self.attempt(number) for number in sorted(int(name) for name in names if name.isdecimal())]
