"""Commands of the session as OneTrainer's TrainCommands, and the memory of which of them still wait for an answer.

OneTrainer says nothing: it takes a command's flag at the top of a batch, acts (or, on the last step, does not), and goes on. So the flags
are watched as they are taken, what is then made is seen by `files`, and what is left when training ends has failed.
"""

import threading
from collections.abc import Mapping
from typing import Any

from ipc.messages import Command
from trainer_runner.backends.onetrainer.checkout import Checkout
from trainer_runner.backends.onetrainer.landing import apply, name_of
from trainer_runner.trainer.backend import ConfigError
from trainer_runner.trainer.session import Session

BACKUP, SAVE, SAMPLE_DEFAULT = "backup", "save", "sample_default"
COMMAND_ID = "_onetrainerd_command_id"
"""An attribute of a custom sample's SampleConfig; the copies that OneTrainer makes of it keep it."""


class Orders:
    """Commands that wait: *asked* until OneTrainer takes their flag, *taken* until what they ask for is there. Thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.lock = threading.RLock()
        self._asked: dict[str, list[Command]] = {BACKUP: [], SAVE: [], SAMPLE_DEFAULT: []}
        self._taken: dict[str, list[Command]] = {BACKUP: [], SAVE: [], SAMPLE_DEFAULT: []}
        self._custom: dict[str, Command] = {}
        self._closed: str | None = None
        self.release: Command | None = None
        self.is_stopping = False
        self.is_orphaned = False
        self.is_backup_wanted = False

    def ask(self, kind: str, command: Command, set_flag: Any) -> None:
        """Remember *command* and set OneTrainer's flag in one move, or fail it when nobody will look at the flag again."""
        with self.lock:
            if self._closed is None:
                self._asked[kind].append(command)
                set_flag()
                return
        self._session.failed(command.id, "run_ended", self._closed)

    def ask_custom(self, command: Command, sample: Any, give: Any) -> None:
        with self.lock:
            if self._closed is None:
                self._custom[command.id] = command
                setattr(sample, COMMAND_ID, command.id)
                give(sample)
                return
        self._session.failed(command.id, "run_ended", self._closed)

    def ask_release(self, command: Command, set_flag: Any) -> None:
        with self.lock:
            if self.is_stopping or self.release is not None:
                self._session.failed(command.id, "wrong_state", "the training is already stopping")
                return
            self.release = command
        self.ask(BACKUP, command, set_flag)

    def take(self, kind: str, flag: bool) -> bool:
        """OneTrainer has read a flag: what was asked until now is on its way. Returns *flag*."""
        if flag:
            self._taken[kind] += self._asked[kind]
            self._asked[kind] = []
        return flag

    def taken(self, kind: str) -> "list[Command]":
        return list(self._taken[kind])

    def answer(self, kind: str, result: "Mapping[str, Any] | None", failure: str = "") -> "list[Command]":
        """Answer what is taken: done with *result*, or failed with *failure*. Returns what was answered."""
        with self.lock:
            taken, self._taken[kind] = self._taken[kind], []
        for command in taken:
            if result is not None:
                self._session.done(command.id, result)
            else:
                self._session.failed(command.id, "failed", failure)
                if command is self.release:
                    self.release = None  # the training goes on
        return taken

    def answer_custom(self, command_id: str, result: "Mapping[str, Any] | None", failure: str = "") -> None:
        with self.lock:
            known = self._custom.pop(command_id, None)
        if known is not None and result is not None:
            self._session.done(command_id, result)
        elif known is not None:
            self._session.failed(command_id, "failed", failure)

    def close(self, why: str) -> None:
        """OneTrainer looks at no flag any more: what waits, and what may yet come, fails with *why*."""
        with self.lock:
            if self._closed is not None:
                return
            self._closed = why
            waiting = [*self._custom.values()]
            for queue in (self._asked, self._taken):
                for kind in queue:
                    waiting += queue[kind]
                    queue[kind] = []
            self._custom.clear()
            self.release = None
        for command in waiting:
            self._session.failed(command.id, "run_ended", why)


def new_commands(checkout: Checkout, orders: Orders) -> Any:
    """A TrainCommands of OneTrainer that tells *orders* which flags were taken."""
    base: Any = checkout.commands

    class WatchedCommands(base):  # type: ignore[misc]  # the base is OneTrainer's class, known only at run time
        def get_and_reset_backup_command(self) -> bool:
            with orders.lock:
                return orders.take(BACKUP, super().get_and_reset_backup_command())

        def get_and_reset_save_command(self) -> bool:
            with orders.lock:
                return orders.take(SAVE, super().get_and_reset_save_command())

        def get_and_reset_sample_default_command(self) -> bool:
            with orders.lock:
                return orders.take(SAMPLE_DEFAULT, super().get_and_reset_sample_default_command())

        def __reduce__(self) -> Any:
            # MultiTrainer pickles the commands to its other processes, which know OneTrainer's class alone.
            return base, (), {key: value for key, value in self.__dict__.items() if key.startswith("_TrainCommands__")}

    return WatchedCommands()


class Sink:
    """The backend's ear, on the session's reader thread."""

    def __init__(self, session: Session, checkout: Checkout, config: Any, commands: Any, orders: Orders) -> None:
        self._session = session
        self._checkout = checkout
        self.config = config
        self._commands = commands
        self._orders = orders
        self.waits_for_ranks = False
        """Several GPUs: a stop is given to OneTrainer by `apply_stop` alone, when its ranks agree on it."""

    def stop(self, backup: bool) -> None:
        if backup:
            self._orders.is_backup_wanted = self.config.backup_before_save = True
        self._orders.is_stopping = True
        if not self.waits_for_ranks:
            self._commands.stop()

    def apply_stop(self) -> None:
        """Give OneTrainer the stop that was asked for, if one was."""
        if self._orders.is_stopping:
            self._commands.stop()

    def request(self, command: Command) -> None:
        match command.name:
            case "backup":
                self._orders.ask(BACKUP, command, self._commands.backup)
            case "save":
                self._orders.ask(SAVE, command, self._commands.save)
            case "sample" if not command.args.get("sample"):
                self._orders.ask(SAMPLE_DEFAULT, command, self._commands.sample_default)
            case "sample":
                try:
                    sample = self._custom_sample(command.args["sample"])
                except ConfigError as error:
                    self._session.failed(command.id, "invalid", str(error))
                else:
                    self._orders.ask_custom(command, sample, self._commands.sample_custom)
            case _:
                self._session.failed(command.id, "unsupported", f"OneTrainer knows no command {command.name}")

    def release(self, command: Command) -> None:
        self._orders.ask_release(command, self._commands.backup)

    def orphaned(self) -> None:
        self._orders.is_orphaned = True
        self.stop(backup=True)

    def _custom_sample(self, values: Any) -> Any:
        if not isinstance(values, Mapping):
            raise ConfigError(f"sample: {values!r} is no object")
        sample = self._checkout.new_sample_config(self.config.model_type)
        landing = apply(sample, values, ("sample",), migrate=False)
        if landing.refused or landing.unknown:
            unknown = [f"{name_of(path)}: OneTrainer knows no such key" for path in landing.unknown]
            raise ConfigError("; ".join([*(refusal.sentence for refusal in landing.refused), *unknown]))
        return sample
