"""What a backend is: the protocol between the session and the program that trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ipc.messages import Command

if TYPE_CHECKING:
    from trainer_runner.trainer.session import Session


class Place(NamedTuple):
    """Where a training is, by OneTrainer's counters.

    *global_step* counts batches over the run, 1 after the first; with gradient accumulation there are several to an optimizer step.
    *epoch* and *epoch_step* begin at 0; *epoch_sample* counts images within the epoch; *max_step* is the number of batches of an epoch,
    *max_epoch* the number of epochs.
    """

    global_step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    epoch_sample: int = 0
    max_step: int = 0
    max_epoch: int = 0


class Outcome(NamedTuple):
    """How a training ended by itself. *kind* is `completed`, `stopped`, `released` or `nothing_done`."""

    kind: str
    message: str
    global_step: int
    model_path: "Path | None" = None
    last_backup: "Path | None" = None


class CommandSink(Protocol):
    """A backend's ear. Called on the session's reader thread, while the training thread goes on: each method returns at once."""

    def stop(self, backup: bool) -> None:
        """End after the present step: save as the config says, then return from `run`. May come more than once.

        *backup*: back up before that, whatever the config says: the machine goes down."""

    def request(self, command: Command) -> None:
        """`backup`, `save` or `sample`: carry it out between two steps, then call `Session.done` or `Session.failed` with its id."""

    def release(self, command: Command) -> None:
        """Back up, answer *command* when the backup is whole, and return from `run` with the outcome `released`, saving no model."""

    def orphaned(self) -> None:
        """The runner is dead: back up, then stop as in `stop`."""


class Backend(Protocol):
    """A program that trains. Made new for each attempt; `run` is called once, on the main thread."""

    def run(self, session: "Session") -> Outcome:
        """Train as `session.config` says until the end or a stop. Raises what goes wrong; `ConfigError` for a wrong config."""


class ConfigError(Exception):
    """The config cannot be trained with. The message names the key, the value and what is allowed."""


class NotFiniteLossError(Exception):
    """The loss became NaN or infinite; going on would only write a broken model."""


def place_fields(place: Place) -> "dict[str, Any]":
    """PLACE of PROTOCOL.md."""
    return place._asdict()
