"""The one thing that a backend talks to: it says what happens, and hears what is wanted. Thread-safe."""

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipc.atomic import replace_json
from ipc.messages import Command, number_to_json
from trainer_runner.trainer.backend import CommandSink, Outcome, Place, place_fields
from trainer_runner.trainer.channel import Channel
from trainer_runner.trainer.failure import cause_of
from trainer_runner.trainer.pace import Pace


class Session:
    """One attempt, as its backend sees it.

    *config* is the effective config of the run; *continue_from* the backup to go on from, or None to begin (or to do as the config's
    `continue_last_backup` says); *secrets* what the run's secrets file holds; *understood_at* where to write what became of the config.
    """

    def __init__(
        self, channel: Channel, config: "dict[str, Any]", *, secrets: "dict[str, Any]", continue_from: "Path | None" = None,
        understood_at: "Path | None" = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.secrets = secrets
        self.continue_from = continue_from
        self._understood_at = understood_at
        self._channel = channel
        self._pace = Pace()
        self._condition = threading.Condition()
        self._sink: CommandSink | None = None
        self._early: list[Callable[[CommandSink], None]] = []
        self._open: dict[str, Command] = {}
        self._capabilities: frozenset[str] = frozenset()
        self._pause: Command | None = None
        self._held = False
        self._resumes: list[Command] = []
        self._news = False
        self._stopping = False
        self._place = Place()

    # What a backend says.

    def understood(self, config: "Mapping[str, Any]") -> None:
        """What the backend really trains with: all defaults in it, migrated, and without secrets. A disk that refuses stops nothing."""
        if self._understood_at is None:
            return
        try:
            replace_json(self._understood_at, config, 0o600)
        except (OSError, ValueError, TypeError) as error:
            self.log("warning", f"what became of the config could not be written to {self._understood_at}: {error}")

    def ready(
        self, *, backend: str, capabilities: "frozenset[str]", torch: str, device: str, workspace_dir: Path, samples_dir: Path
    ) -> None:
        """The backend is loaded and the config understood. Call it before the slow part begins."""
        import platform  # noqa: PLC0415 - used once, and not cheap

        with self._condition:
            self._capabilities = capabilities
        self._channel.emit("trainer.ready", {
            "backend": backend, "python": platform.python_version(), "torch": torch, "device": device,
            "workspace_dir": str(workspace_dir), "samples_dir": str(samples_dir), "capabilities": sorted(capabilities),
        })  # fmt: skip

    def attach(self, sink: CommandSink) -> None:
        """From now on *sink* hears the commands; those that came before, it hears at once."""
        with self._condition:
            self._sink = sink
            early, self._early = self._early, []
            for deliver in early:
                deliver(sink)

    def status(self, text: str) -> None:
        """The trainer's own free words."""
        self._channel.emit("status", {"text": text})

    def phase(self, phase: str, place: "Place | None" = None) -> None:
        """`loading`, `training`, `sampling` or `saving` begins."""
        if phase == "training":
            self._pace.begin(time.monotonic())
        self._channel.emit("phase", {"phase": phase, **place_fields(place or self._place)})

    def continued(self, backup: Path, place: Place) -> None:
        """Training goes on from *backup*."""
        self._place = place
        self._channel.emit("continued", {"backup": str(backup), **place_fields(place)})

    def step(self, place: Place, scalars: Mapping[str, float]) -> None:
        """An optimizer step is done; *scalars* by their TensorBoard tags. Once for each step, in order."""
        self._place = place
        elapsed_s, steps_per_second = self._pace.step(time.monotonic(), place.global_step)
        self._channel.emit("step", {
            **place_fields(place), "elapsed_s": round(elapsed_s, 3), "steps_per_second": round(steps_per_second, 4),
            "scalars": {tag: number_to_json(float(value)) for tag, value in scalars.items()},
        })  # fmt: skip

    def scalars(self, global_step: int, scalars: Mapping[str, float]) -> None:
        """Scalars of a step that failed: *global_step* is what it would have become. At most once for each step, behind those done."""
        numbers = {tag: number_to_json(float(value)) for tag, value in scalars.items()}
        self._channel.emit("scalars", {"global_step": global_step, "scalars": numbers})

    def sampling(self, kind: str, current: int, total: int) -> None:
        """Step *current* of *total* of the sampler; *kind* is `default` or `custom`."""
        self._channel.emit("sampling", {"kind": kind, "current": current, "total": total})

    def sample(
        self, path: Path, *, kind: str, prompt: str, seed: "int | None", index: int, place: Place, command_id: "str | None" = None
    ) -> None:
        """A sample's file is whole at *path*."""
        self._channel.emit("sample", {
            "path": str(path), "kind": kind, "prompt": prompt, "seed": seed, "index": index, **place_fields(place),
            **({"command_id": command_id} if command_id else {}),
        })  # fmt: skip

    def backup(self, path: Path, trigger: str, place: Place) -> None:
        """A backup is whole at *path*: its `meta.json` is there."""
        self._channel.emit("backup", {"path": str(path), "trigger": trigger, **place_fields(place)})

    def save(self, path: Path, trigger: str, place: Place) -> None:
        """A model file is whole at *path*."""
        self._channel.emit("save", {"path": str(path), "trigger": trigger, **place_fields(place)})

    def log(self, level: str, message: str) -> None:
        """A line for people; *level* is `debug`, `info`, `warning` or `error`."""
        self._channel.emit("log", {"level": level, "message": message})

    def error(self, where: str, error: BaseException, *, fatal: bool = False) -> None:
        """Something went wrong at *where* (`config`, `start`, `train`, `end`, `sample`, `backup`, `save`)."""
        self._channel.emit("error", {
            "where": where, "cause": cause_of(error),
            "exception": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
            "message": str(error)[:4000], "traceback": "".join(traceback.format_exception(error))[-16000:], "fatal": fatal,
        })  # fmt: skip

    def done(self, command_id: str, result: "Mapping[str, Any] | None" = None) -> None:
        """The command is carried out. A command is answered once; a second answer is ignored."""
        with self._condition:
            command = self._open.pop(command_id, None)
        if command is not None:
            self._channel.emit("command.done", {"id": command.id, "command": command.name, "result": dict(result or {})})

    def failed(self, command_id: str, code: str, message: str) -> None:
        """The command was not carried out; *code* as in PROTOCOL.md, *message* says why."""
        with self._condition:
            command = self._open.pop(command_id, None)
        if command is not None:
            self._channel.emit("command.failed", {"id": command.id, "command": command.name, "code": code, "message": message})

    def finished(self, outcome: Outcome) -> None:
        """The last word. Commands that nobody answered fail now."""
        self.fail_open_commands("the training ended before it was carried out")
        self._channel.emit("trainer.finished", {
            "outcome": outcome.kind, "message": outcome.message, "global_step": outcome.global_step,
            "model_path": str(outcome.model_path) if outcome.model_path else None,
            "last_backup": str(outcome.last_backup) if outcome.last_backup else None,
        })  # fmt: skip

    def fail_open_commands(self, why: str) -> None:
        for command_id in list(self._open):
            self.failed(command_id, "run_ended", why)

    # What a backend asks.

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def hold_while_paused(self, service: "Callable[[], None] | None" = None) -> None:
        """Call it on the training thread between two steps: it returns at once, or when a pause has ended (by resume, stop or release).

        *service* is called whenever a command comes meanwhile, for backends that can carry commands out in a pause.
        """
        with self._condition:
            pause = self._pause
            self._held = pause is not None
        if pause is None:
            return
        began = time.monotonic()
        self._channel.emit("paused", {"mode": "hold", **place_fields(self._place)})
        self.done(pause.id)
        while self._wait_held():
            if service is not None:
                service()
        self._pace.hold(time.monotonic() - began)
        self._channel.emit("resumed", {"mode": "hold", **place_fields(self._place)})
        with self._condition:
            resumes, self._resumes = self._resumes, []
        for command in resumes:
            self.done(command.id)

    def _wait_held(self) -> bool:
        """Wait for a command; whether the pause goes on after it."""
        with self._condition:
            self._condition.wait_for(lambda: self._news or self._pause is None)
            self._news = False
            self._held = self._pause is not None
            return self._held

    # What comes in, on the reader thread.

    def receive(self, command: Command) -> None:
        """A command from the runner."""
        with self._condition:
            self._open[command.id] = command
            unsupported = self._unsupported(command)
        if unsupported:
            self.failed(command.id, "unsupported", unsupported)
            return
        match command.name:
            case "stop":
                with self._condition:
                    self._open.pop(command.id)  # the runner answers it, when the process has gone
                self.stop(backup=command.args.get("backup") is True)
            case "pause" if command.args.get("mode", "hold") == "hold":
                self._begin_pause(command)
            case "pause":
                self._end_pause()
                self._deliver(lambda sink: sink.release(command))
            case "resume":
                self._resume(command)
            case _:
                self._deliver(lambda sink: sink.request(command))
                with self._condition:
                    self._news = True
                    self._condition.notify_all()

    def stop(self, *, backup: bool = False) -> None:
        """End the training as soon as the backend can; the same for a stop command and for SIGTERM. *backup*: back up on the way."""
        with self._condition:
            self._stopping = True
        self._end_pause()
        self._deliver(lambda sink: sink.stop(backup))

    def orphaned(self) -> None:
        """The runner is dead: the backend backs up and stops."""
        with self._condition:
            self._stopping = True
        self._end_pause()
        self._deliver(lambda sink: sink.orphaned())

    def _deliver(self, deliver: "Callable[[CommandSink], None]") -> None:
        with self._condition:
            if self._sink is None:
                self._early.append(deliver)
            else:
                deliver(self._sink)

    def _begin_pause(self, command: Command) -> None:
        with self._condition:
            already = self._pause
            if already is None and not self._stopping:
                self._pause = command
                return
        if already is None:
            self.failed(command.id, "wrong_state", "the training is stopping")
        elif self._held:
            self.done(command.id)
        else:
            self.failed(command.id, "wrong_state", f"a pause is already asked for by command {already.id}")

    def _resume(self, command: Command) -> None:
        """End the pause. It is done when the training thread says so, after `resumed`; at once where it had not begun to wait."""
        with self._condition:
            is_held = self._held
            if is_held:
                self._resumes.append(command)
        if not self._end_pause() and not is_held:
            self.failed(command.id, "wrong_state", "the training is not paused")
        elif not is_held:
            self.done(command.id)

    def _end_pause(self) -> bool:
        """End a pause or take back one that has not begun; False when there is none."""
        with self._condition:
            pause, self._pause = self._pause, None
            self._condition.notify_all()
        if pause is None:
            return False
        self.failed(pause.id, "wrong_state", "ended before the next step was done")
        return True

    def _unsupported(self, command: Command) -> "str | None":
        if not self._capabilities or command.name in ("stop", "resume"):
            return None
        needed = {
            "pause": f"pause_{command.args.get('mode', 'hold')}",
            "sample": "sample_custom" if command.args.get("sample") else "sample_default",
        }.get(command.name, command.name)
        if needed in self._capabilities:
            return None
        return f"this trainer cannot {needed.replace('_', ' ')}; it can: {', '.join(sorted(self._capabilities))}"
