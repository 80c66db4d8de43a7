"""What a storm does to the trainer from inside. Copied into a copy of `tests/standin`, whose GenericTrainer it wraps. Stdlib only.

`<workspace>.weather.json`: `step_s`, `tags` (scalars more a step), `do` (an action), `at_step` or `on_file` (when to do it), `times`
(note when each step was told). Beside it the trainer leaves `<workspace>.starts`, one line for each start of a trainer: its pid and
the pids of those that lived then; `<workspace>.beat`: the last step; `<workspace>.times`; `<workspace>.waits`: what told how long.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_FRAME = "step: {0:3d}%|##########| {0}/{1} [00:01<00:00, 9.99it/s, loss=0.123, smooth loss=0.456]\r"


class _Weather:
    def __init__(self, trainer: Any, module: Any) -> None:
        self._trainer = trainer
        self._base = trainer.config.workspace_dir
        self._plan: dict[str, Any] = json.loads(self._file("weather.json").read_text())
        module.STEP_S = self._plan.get("step_s", module.STEP_S)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._sign_in()
        self._told = trainer.callbacks.on_update_train_progress
        trainer.callbacks.on_update_train_progress = self._step
        self._last_step = 0
        self._longest_s = self._gap_s = 0.0
        self._before = time.monotonic()
        self._wall = time.time() - self._before
        self._tags = [f"storm/a_scalar_with_a_long_name_{number:04d}" for number in range(self._plan.get("tags", 0))]

    def _sign_in(self) -> None:
        path = self._file("starts")
        before = path.read_text().splitlines() if path.exists() else []
        living = [pid for line in before if _is_running(pid := int(line.split()[0]))]
        with path.open("a") as file:
            file.write(" ".join(map(str, [os.getpid(), *living])) + "\n")

    def _step(self, progress: Any, *rest: Any) -> None:
        began = time.monotonic()
        if progress.global_step != self._last_step:
            for number, tag in enumerate(self._tags):
                self._trainer.tensorboard.add_scalar(tag, number / 7, progress.global_step - 1)
        self._told(progress, *rest)
        now = time.monotonic()
        self._longest_s = max(self._longest_s, now - began)
        self._gap_s = max(self._gap_s, now - self._before)
        self._before = now
        if progress.global_step == self._last_step:
            return
        self._last_step = progress.global_step
        if self._plan.get("times"):
            with self._file("times").open("a") as file:
                file.write(f"{progress.global_step} {began + self._wall}\n")
        self._note("beat", str(self._last_step))
        if self._last_step % 10 == 0:
            self._note("waits", f"{self._longest_s} {self._gap_s}")
        self._act(progress.global_step)

    def _file(self, kind: str) -> Path:
        return Path(f"{self._base}.{kind}")

    def _note(self, kind: str, text: str) -> None:
        self._file(kind + ".new").write_text(text)
        self._file(kind + ".new").replace(self._file(kind))

    def _act(self, step: int) -> None:
        plan = self._plan
        if plan.get("do") and (step == plan.get("at_step") or ("on_file" in plan and Path(plan["on_file"]).exists())):
            self._note("died", str(time.time()))
            self._do(plan["do"])

    def _do(self, action: str) -> None:
        kind, _, number = action.partition(":")
        match kind:
            case "segv":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "bus":
                _read_beyond_the_end()
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(int(number))
            case "system_exit":
                sys.exit(int(number))
            case "frames":
                self._frames(int(number))
            case "noise":
                _noise()

    def _frames(self, count: int) -> None:
        for frame in range(count):
            sys.stderr.write(_FRAME.format(frame, count))
        sys.stderr.write("\n")
        sys.stderr.flush()


def _read_beyond_the_end() -> None:
    """SIGBUS: the page is mapped, and no longer in the file."""
    with tempfile.TemporaryFile() as file:
        file.truncate(8192)
        page = mmap.mmap(file.fileno(), 8192)
        file.truncate(0)
        sys.stdout.write(str(page[4096]))


def _noise() -> None:
    """A line of 10 MB, bytes that are no UTF-8, NULs, and many short lines."""
    out = sys.stdout.buffer
    out.write(b"x" * (10 << 20) + b"\n")
    out.write(bytes(range(128, 256)) * 200 + b"\n")
    out.write(b"\0" * 5000 + b"\n\r\r\n" + b"\xff\xfe\0\n")
    for number in range(2000):
        out.write(b"line %d \xc3\n" % number)
    out.write(b"the last line")
    out.flush()


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def blow(trainer_class: Any, module: Any) -> None:
    """Wrap the stand-in's trainer."""
    original = trainer_class.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.weather = _Weather(self, module)

    trainer_class.__init__ = begin
