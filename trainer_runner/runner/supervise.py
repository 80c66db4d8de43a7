"""The runner's one loop: bytes in, events out, the ladder climbed, the end written down."""

import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

from ipc.atomic import read_object, replace_json
from ipc.errors import IpcError
from ipc.exit_record import ExitRecord, ExitSlot
from ipc.locks import FileLock
from ipc.messages import EVENT_LINE_BYTES, Command, decode_command, decode_object, encode_command
from ipc.pipes import LineBuffer, open_fifo
from ipc.process import ProcessIdentity
from ipc.run_directory import AttemptDirectory
from trainer_runner.runner import child
from trainer_runner.runner.cause import Evidence, classify
from trainer_runner.runner.cgroup import oom_kills
from trainer_runner.runner.console import Console
from trainer_runner.runner.keeper import JournalKeeper
from trainer_runner.runner.ladder import Rung, StopLadder

_RUNNERS_OWN = frozenset({"runner.started", "trainer.spawned", "trainer.exited", "runner.exited", "command.accepted"})
_RETRY_S = 1.0
_BACKLOG_BYTES = 8 << 20


class Runner:
    """One attempt, from spawn to exit record. Everything happens on one thread, in `run`."""

    def __init__(
        self, attempt: AttemptDirectory, launch: "dict[str, Any]", keeper: JournalKeeper, identity: "dict[str, Any]", lock: FileLock
    ) -> None:
        """*identity* is what runner.json says so far; *lock* is held for as long as this object lives."""
        self._lock = lock
        self._attempt = attempt
        self._launch = launch
        self._keeper = keeper
        self._identity = identity
        self._started = time.time()
        self._slot = ExitSlot(attempt.exit)
        self._console = Console(attempt.console, launch["console"]["max_bytes"])
        self._ladder = StopLadder()
        self._selector = selectors.DefaultSelector()
        # Open before anybody is told that we are here: what is written into a FIFO that nobody holds open is lost.
        self._control_fd = open_fifo(attempt.control_pipe)
        self._control = LineBuffer(4096)
        self._events = LineBuffer(EVENT_LINE_BYTES)
        self._backlog = bytearray()
        self._open_commands: dict[str, str] = {}
        self._seen_commands: set[str] = set()
        self._signals_sent: list[str] = []
        self._stop_requested = False
        self._error: dict[str, Any] | None = None
        self._finished: dict[str, Any] | None = None
        self._last: dict[str, Any] = {"global_step": 0, "last_backup": None, "model_path": None}
        self._trainer: child.TrainerProcess
        self._woken = -1

    def run(self) -> None:
        """Hold the trainer until it has ended, and write down how. Returns when all is on disk."""
        kills_before = oom_kills()
        child.become_subreaper()
        self._catch_signals()
        try:
            self._trainer = child.spawn(self._launch, str(self._attempt.path))
        except OSError as error:
            self._write_end(Evidence(status=None, spawn_error=f"{error.strerror}: {error.filename}"))
            return
        self._record_trainer()
        self._watch(self._control_fd, self._read_control)
        self._watch(self._trainer.events, self._read_events)
        self._watch(self._trainer.console, self._read_console)
        while not child.has_exited(self._trainer.pid):
            for key, _ in self._selector.select(self._timeout()):
                key.data(key.fd)
            self._tick()
        strays = child.end_strays(self._trainer)
        self._read_events(self._trainer.events)
        self._read_console(self._trainer.console)
        status = child.reap(self._trainer.pid)
        self._keeper.append({
            "type": "trainer.exited", "code": status if status >= 0 else None,
            "signal": signal.Signals(-status).name if status < 0 else None, "strays": strays,
        })  # fmt: skip
        self._answer_open_commands()
        kills_after = oom_kills()
        self._write_end(Evidence(
            status=status, error=self._error, finished=self._finished, stop_requested=self._stop_requested,
            signals_sent=tuple(self._signals_sent), oom_kills=(kills_after or 0) - (kills_before or 0),
        ))  # fmt: skip

    # Start.

    def _catch_signals(self) -> None:
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the loop does the work, woken by the descriptor
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._watch(self._woken, self._read_signals)

    def _record_trainer(self) -> None:
        identity = {**ProcessIdentity.of(self._trainer.pid).to_json(), "pgid": self._trainer.pid}
        self._identity["trainer"] = identity
        try:
            replace_json(self._attempt.runner, self._identity)
        except OSError:
            pass  # a full disk: the journal, which can wait for room, has it too
        self._keeper.append({"type": "trainer.spawned", "trainer": identity, "argv": self._launch["argv"]})

    def _watch(self, fd: int, read: "Callable[[int], None]") -> None:
        self._selector.register(fd, selectors.EVENT_READ, read)

    # The loop.

    def _timeout(self) -> "float | None":
        waits = [self._ladder.deadline - time.monotonic()] if self._ladder.deadline is not None else []
        if self._keeper.is_held or self._backlog:
            waits.append(_RETRY_S if self._keeper.is_held else 0.05)
        return max(0.0, min(waits)) if waits else None

    def _tick(self) -> None:
        for rung in self._ladder.due(time.monotonic()):
            self._climb(rung)
        if self._keeper.is_held:
            self._keeper.retry()
        if self._backlog:
            self._flush_backlog()

    def _read_signals(self, fd: int) -> None:
        if signal.SIGTERM in os.read(fd, 4096):
            stop = self._launch["stop"]
            self._stop("sigterm", None, stop["grace_s"], stop["term_s"], force=False)

    def _read_console(self, fd: int) -> None:
        for data in self._drain(fd):
            self._console.feed(data, time.monotonic())

    def _read_control(self, fd: int) -> None:
        for line in self._control.feed(os.read(fd, 65536)):
            try:
                command, in_file = decode_command(line)
                if in_file:
                    command = command._replace(args=read_object(self._attempt.commands / f"{command.id}.json"))
            except (IpcError, OSError) as error:
                self._warn(f"a command was not understood: {error}")
                continue
            if command.id not in self._seen_commands:
                self._seen_commands.add(command.id)
                self._accept(command)

    def _read_events(self, fd: int) -> None:
        for data in self._drain(fd):
            for line in self._events.feed(data):
                self._take_event(line)
            if self._events.oversized:
                self._warn(f"{self._events.oversized} event(s) longer than {EVENT_LINE_BYTES} bytes were dropped")
                self._events.oversized = 0

    def _drain(self, fd: int) -> "list[bytes]":
        """What the pipe holds now, a megabyte at most, so that a flood on one pipe does not starve the others."""
        chunks: list[bytes] = []
        for _ in range(16):
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                break
            if not data:
                if fd in self._selector.get_map():
                    self._selector.unregister(fd)
                break
            chunks.append(data)
        return chunks

    def _take_event(self, line: bytes) -> None:
        try:
            event = decode_object(line)
        except IpcError as error:
            self._warn(f"an event of the trainer was dropped: {error}")
            return
        kind = event.get("type")
        if not isinstance(kind, str) or kind in _RUNNERS_OWN or not _is_well_formed(kind, event):
            self._warn(f"an event of the trainer was dropped: its type is {kind!r}, or its fields do not fit that")
            return
        for own in ("v", "seq"):
            event.pop(own, None)
        if kind in ("command.done", "command.failed"):
            self._open_commands.pop(event.get("id", ""), None)
        elif kind == "error" and event.get("fatal"):
            self._error = event
        elif kind == "trainer.finished":
            self._finished = event
            self._ladder.linger(time.monotonic())
        self._remember(kind, event)
        self._keeper.append(event)

    def _remember(self, kind: str, event: "dict[str, Any]") -> None:
        """Keep what the exit record tells."""
        if kind == "step":
            self._last["global_step"] = event.get("global_step", 0)
        elif kind == "steps":
            self._last["global_step"] = event["rows"][-1].get("global_step", 0)
        elif kind == "backup":
            self._last["last_backup"] = event.get("path")
        elif kind == "trainer.finished":
            self._last["last_backup"] = event.get("last_backup") or self._last["last_backup"]
            self._last["model_path"] = event.get("model_path")

    def _warn(self, message: str) -> None:
        self._keeper.append({"type": "log", "level": "warning", "message": message})

    # Commands and the ladder.

    def _accept(self, command: Command) -> None:
        self._open_commands[command.id] = command.name
        self._keeper.append({"type": "command.accepted", "id": command.id, "command": command.name})
        if command.name == "stop":
            grace_s, term_s = (_seconds(command.args.get(key), self._launch["stop"][key]) for key in ("grace_s", "term_s"))
            self._stop("command", command, grace_s, term_s, force=bool(command.args.get("force")))
        else:
            self._send(command)

    def _stop(self, origin: str, command: "Command | None", grace_s: float, term_s: float, *, force: bool) -> None:
        self._stop_requested = True
        self._keeper.append({
            "type": "stop.requested", "origin": origin, "force": force, "grace_s": grace_s, "term_s": term_s,
            **({"id": command.id} if command else {}),
        })  # fmt: skip
        for rung in self._ladder.request(time.monotonic(), grace_s, term_s, force=force):
            self._climb(rung, command)

    def _climb(self, rung: Rung, command: "Command | None" = None) -> None:
        match rung.kind:
            case "command":
                self._send(command or Command("sigterm", "stop", {"backup": True}))
                self._keeper.append({"type": "stop.grace", "seconds": rung.seconds})
            case "term":
                self._signals_sent.append("SIGTERM")
                self._trainer.send(signal.SIGTERM)
                self._keeper.append({"type": "stop.term", "seconds": rung.seconds})
            case "kill" | "kill_again":
                self._signals_sent.append("SIGKILL")
                self._trainer.kill_group()
                if rung.kind == "kill":
                    self._keeper.append({"type": "stop.kill", "pgid": self._trainer.pid})

    def _send(self, command: Command) -> None:
        if len(self._backlog) > _BACKLOG_BYTES:
            self._open_commands.pop(command.id, None)
            self._keeper.append({
                "type": "command.failed", "id": command.id, "command": command.name, "code": "failed",
                "message": "the trainer has not read its commands for a long time; stop it with force to end it",
            })  # fmt: skip
            return
        self._backlog += encode_command(command)
        self._flush_backlog()

    def _flush_backlog(self) -> None:
        try:
            del self._backlog[: os.write(self._trainer.commands, self._backlog)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._backlog.clear()  # it is ending; what is open is answered then

    # The end.

    def _answer_open_commands(self) -> None:
        for identifier, name in self._open_commands.items():
            if name == "stop":
                self._keeper.append({"type": "command.done", "id": identifier, "command": name, "result": {}})
            else:
                self._keeper.append({
                    "type": "command.failed", "id": identifier, "command": name, "code": "trainer_died",
                    "message": "the trainer ended before it was carried out",
                })  # fmt: skip

    def _write_end(self, evidence: Evidence) -> None:
        verdict = classify(evidence)
        self._console.close()
        record = ExitRecord(
            cause=verdict.cause, message=verdict.message, evidence=verdict.evidence,
            code=evidence.status if evidence.status is not None and evidence.status >= 0 else None,
            signal=signal.Signals(-evidence.status).name if evidence.status is not None and evidence.status < 0 else None,
            outcome=evidence.finished.get("outcome") if evidence.finished else None,
            error={key: value for key, value in (evidence.error or {}).items() if key not in ("type", "v")} or None,
            console_tail=self._console.tail(), started=round(self._started, 4), ended=round(time.time(), 4), **self._last,
        )  # fmt: skip
        try:
            self._slot.write(record)
        except OSError:
            pass  # the journal below says the same
        self._keeper.append({"type": "runner.exited", "exit": record.to_json()})
        self._keeper.close()


def _is_well_formed(kind: str, event: "dict[str, Any]") -> bool:
    """Whether what the runner itself reads of *event* is there: nothing that a trainer says may end the runner."""
    if not isinstance(event.get("ts", 0.0), (int, float)):
        return False
    if kind == "steps":
        rows = event.get("rows")
        return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) and "global_step" in row for row in rows)
    if kind in ("command.done", "command.failed"):
        return isinstance(event.get("id"), str)
    return kind != "step" or "global_step" in event


def _seconds(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and value >= 0 else default
