"""A trainer without a runner: keep the console open, keep a journal of its own, so that a night's work is still saved."""

import os
import threading
from collections.abc import Callable
from typing import Any

from ipc.journal import JournalWriter
from ipc.run_directory import AttemptDirectory


class Orphanage:
    """What takes the runner's place, as far as that goes. The console's pipe has no other reader then: the next write would kill."""

    def __init__(self, attempt: AttemptDirectory, console_fd: int) -> None:
        """*console_fd* is a read end of our own console pipe: while we hold it, no write raises EPIPE."""
        self._attempt = attempt
        self._console_fd = console_fd

    def redirect_console(self) -> None:
        """Put `console.orphan.log` under stdout and stderr, and drain what is in the pipe: a writer may stand in it, blocked."""
        try:
            log = os.open(self._attempt.orphan_console, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:
            log = os.open(os.devnull, os.O_WRONLY)  # a full disk must not stop the backup
        os.set_blocking(self._console_fd, True)  # the runner read the same open file without blocking
        os.dup2(log, 1)
        os.dup2(log, 2)
        threading.Thread(target=self._drain, args=(log,), name="orphan-console", daemon=True).start()

    def take_in(self) -> "Callable[[dict[str, Any]], None]":
        """Where events go once nobody reads their pipe."""
        journal = JournalWriter(self._attempt.orphan_events)

        def write(event: "dict[str, Any]") -> None:
            journal.append(event)
            journal.sync()

        return write

    def _drain(self, log: int) -> None:
        while data := os.read(self._console_fd, 65536):
            try:
                os.write(log, data)
            except OSError:
                continue  # read on all the same, so that nobody blocks
