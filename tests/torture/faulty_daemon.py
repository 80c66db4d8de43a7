"""The daemon with something wrong in it: it dies at its Nth write, rename or spawn.

`faulty_daemon.py <plan.json> serve …`. Plan: `count_to` (a file that gets a line for each point that is passed), `at` (die at this
point, from 1) and `mode`: `before` the call, `after` it, `torn` (a write of half the bytes). With `runner` (the path of another plan) it is
the runners that die so.
"""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINTS = (
    "rename", "replace", "write", "fsync", "fdatasync", "mkdir", "mkfifo", "unlink", "rmdir", "ftruncate", "dup2", "link", "chmod",
)  # fmt: skip


class Faults:
    """Counts the points, and dies at one."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._at: int = plan.get("at", 0)
        self._mode: str = plan.get("mode", "before")
        self._count = 0
        self._lock = threading.Lock()
        self._log = os.open(plan["count_to"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC) if "count_to" in plan else -1
        self._os_write = os.write

    def arm(self) -> None:
        for name in POINTS:
            setattr(os, name, self._wrap(name, getattr(os, name)))
        os.open = self._wrap("creating open", os.open, lambda arguments: bool(arguments[1] & os.O_CREAT))
        subprocess._fork_exec = self._wrap("spawn", subprocess._fork_exec)  # type: ignore[attr-defined]  # where Popen starts processes

    def _wrap(self, name: str, call: Callable[..., Any], counts: Callable[[tuple[Any, ...]], bool] = lambda _: True) -> Callable[..., Any]:
        def point(*args: Any, **kwargs: Any) -> Any:
            if not counts(args):
                return call(*args, **kwargs)
            is_it = self._pass(name, args)
            if is_it and self._mode != "after":
                if self._mode == "torn" and name == "write" and stat.S_ISREG(os.fstat(args[0]).st_mode):  # pipes take a line whole
                    self._os_write(args[0], bytes(args[1])[: len(args[1]) // 2])
                _die()
            result = call(*args, **kwargs)
            if is_it:
                _die()
            return result

        return point

    def _pass(self, name: str, args: tuple[Any, ...]) -> bool:
        with self._lock:
            self._count += 1
            if self._log >= 0:
                what = str(args[0]) if args and not isinstance(args[0], list | tuple) else ""
                self._os_write(self._log, f"{self._count} {name} {what}\n".encode())
            return self._count == self._at


def hurt_runners(plan: str) -> None:
    """Runners are started through `faulty_runner.py`."""
    original = asyncio.create_subprocess_exec

    def start(*command: str, **options: Any) -> Any:
        if "runner" in command and "-S" in command:
            at = command.index("-S") + 1
            command = (*command[:at], str(Path(__file__).with_name("faulty_runner.py")), plan, *command[at:])
        return original(*command, **options)

    asyncio.create_subprocess_exec = start  # type: ignore[assignment]  # the same for whoever calls it


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    sys.argv = ["onetrainerd", *sys.argv[2:]]
    from daemon.cli.main import main as run  # noqa: PLC0415 - importing it writes nothing that counts

    if "runner" in plan:
        hurt_runners(plan["runner"])
    else:
        Faults(plan).arm()
    run()


if __name__ == "__main__":
    main()
