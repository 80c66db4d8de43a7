"""What OneTrainer writes: backups, saves, the final model. Seen where it is written, told when it is whole.

The saver of a trainer is wrapped on the object, so that the path and a failure are known at first hand; OneTrainer only prints the failure.
"""

from pathlib import Path
from typing import Any, NamedTuple

from trainer_runner.backends.onetrainer.backups import is_whole
from trainer_runner.backends.onetrainer.callbacks import Callbacks
from trainer_runner.backends.onetrainer.commands import BACKUP, SAVE, Orders
from trainer_runner.backends.onetrainer.printed import Printed
from trainer_runner.trainer.backend import Place
from trainer_runner.trainer.session import Session


class _Begun(NamedTuple):
    path: Path
    place: Place
    trigger: str


class Files:
    """Backups and saves of one attempt. Lives on the training thread."""

    def __init__(self, session: Session, orders: Orders, callbacks: Callbacks, printed: Printed) -> None:
        self.last_backup: Path | None = None
        self.model_path: Path | None = None
        self.is_ending = False
        self._session = session
        self._orders = orders
        self._callbacks = callbacks
        self._printed = printed
        self._backup: _Begun | None = None

    def tap(self, saver: Any) -> None:
        """Wrap `save` of OneTrainer's model saver *saver* on this one object."""
        original = saver.save

        def save(model: Any, model_type: Any, output_model_format: Any, output_model_destination: str, dtype: Any) -> Any:
            self.settle()
            path = Path(output_model_destination).absolute()
            if str(output_model_format) == "INTERNAL":
                self._printed.take()
                self._backup = _Begun(path, self._callbacks.place, self._trigger(BACKUP))
                return original(model, model_type, output_model_format, output_model_destination, dtype)
            return self._save(_Begun(path, self._callbacks.place, self._trigger(SAVE)),
                              lambda: original(model, model_type, output_model_format, output_model_destination, dtype))  # fmt: skip

        saver.save = save

    def settle(self) -> None:
        """Tell how the last backup ended: OneTrainer has gone on to something else, and has had its time to take a broken one away."""
        begun, self._backup = self._backup, None
        if begun is None:
            return
        error = self._printed.take()
        if is_whole(begun.path):
            self.last_backup = begun.path
            self._session.backup(begun.path, begun.trigger, begun.place)
            answered = self._orders.answer(BACKUP, {"path": str(begun.path)})
            if self._orders.release in answered and not self._orders.is_stopping:
                self._callbacks.is_released = True
            return
        error = error or OSError(f"OneTrainer wrote no meta.json into {begun.path}")
        self._session.error("backup", error)
        self._orders.answer(BACKUP, None, f"the backup {begun.path.name} could not be written: {type(error).__name__}: {error}")

    def _trigger(self, kind: str) -> str:
        if self.is_ending:
            return "orphan" if kind == BACKUP and self._orders.is_orphaned else "final"
        if kind == BACKUP and self._orders.release in self._orders.taken(kind):
            return "release"
        return "command" if self._orders.taken(kind) else "interval"

    def _save(self, begun: _Begun, write: Any) -> Any:
        try:
            result = write()
            if not begun.path.exists():
                raise FileNotFoundError(f"OneTrainer's saver came back and left no {begun.path}")
        except Exception as error:
            if not self.is_ending:  # there it goes through to us; here OneTrainer only prints it
                self._session.error("save", error)
                self._orders.answer(SAVE, None, f"the model could not be saved to {begun.path}: {type(error).__name__}: {error}")
            raise
        if self.is_ending:
            self.model_path = begun.path
        self._session.save(begun.path, begun.trigger, begun.place)
        self._orders.answer(SAVE, {"path": str(begun.path)})
        return result
