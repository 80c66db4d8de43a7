"""The thread that hears: commands by their pipe, SIGTERM by the wake-up descriptor, and the runner's death by the end of the pipe."""

import os
import selectors
import signal
import sys
import threading
import traceback
from collections.abc import Callable

from ipc.errors import MalformedError
from ipc.messages import decode_command
from ipc.pipes import LineBuffer
from trainer_runner.trainer.session import Session

_LINE_LIMIT = 16 << 20


class CommandReader:
    """Reads until the process ends. Signals wake it through signal.set_wakeup_fd, also while the main thread is deep in C code."""

    def __init__(self, commands_fd: int, session: Session, on_orphaned: "Callable[[], None]") -> None:
        self._fd = commands_fd
        self._session = session
        self._on_orphaned = on_orphaned
        self._lines = LineBuffer(_LINE_LIMIT)

    def start(self, signals: "tuple[signal.Signals, ...]") -> None:
        """Call it on the main thread. Each of *signals* then means the stop command."""
        woken, wake = os.pipe()
        for fd in (woken, wake):
            os.set_blocking(fd, False)
        for number in signals:
            signal.signal(number, lambda *_: None)  # the work is done by the reader thread
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        threading.Thread(target=self._run, args=(woken, frozenset(signals)), name="commands", daemon=True).start()

    def _run(self, woken: int, signals: "frozenset[int]") -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._fd, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                data = os.read(key.fd, 65536)
                if key.fd == woken:
                    if signals & set(data):
                        self._session.stop()
                elif data:
                    self._take(data)
                else:
                    selector.unregister(self._fd)
                    self._on_orphaned()
                    self._session.orphaned()

    def _take(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            try:
                command, _ = decode_command(line)
                self._session.receive(command)
            except MalformedError as error:
                self._session.log("warning", f"a command was not understood: {error}")
            except Exception:  # noqa: BLE001 - a sink that fails must not deafen the trainer
                traceback.print_exc(file=sys.stderr)
