"""OneTrainer's callbacks as calls of the session: status and phase, progress, the sampler's steps."""

import sys
import traceback
from collections.abc import Callable
from typing import Any

from trainer_runner.backends.onetrainer.checkout import Checkout
from trainer_runner.backends.onetrainer.scalars import Scalars
from trainer_runner.trainer.backend import Place
from trainer_runner.trainer.session import Session

# In lower case, without dots: until 2025 OneTrainer wrote them so.
_PHASES = {
    "loading the model": "loading", "searching for previous backups": "loading", "running model setup": "loading",
    "creating the data loader/caching": "loading", "starting epoch/caching": "loading", "caching": "loading",
    "training": "training", "calculating validation loss": "training", "sampling": "sampling",
    "creating backup": "saving", "saving": "saving", "saving the final model": "saving",
}  # fmt: skip


class Callbacks:
    """What OneTrainer tells, in order, on the training thread. *on_turn* hears the status that was, whenever a new one comes."""

    def __init__(self, session: Session, scalars: Scalars, on_turn: "Callable[[str], None]") -> None:
        self.place = Place()
        self.steps = 0
        """Batches of this attempt; an optimizer step takes `gradient_accumulation_steps` of them."""
        self.is_released = False
        """The release's backup is whole. OneTrainer still trains one step, which nobody will ever see again: it is not told."""
        self._session = session
        self._scalars = scalars
        self._on_turn = on_turn
        self._status = ""
        self._phase = ""

    def build(self, checkout: Checkout) -> Any:
        """OneTrainer's TrainCallbacks, bound to these methods."""
        return checkout.callbacks(
            on_update_train_progress=self._safe(self._progress),
            on_update_status=self._safe(self._tell_status),
            on_update_sample_default_progress=self._safe(lambda current, total: self._session.sampling("default", current, total)),
            on_update_sample_custom_progress=self._safe(lambda current, total: self._session.sampling("custom", current, total)),
        )

    def begin_at(self, progress: Any) -> None:
        """Training begins, or goes on, at OneTrainer's TrainProgress *progress*."""
        self.place = _place(progress, 0, 0)

    def phase(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._session.phase(phase, self.place)

    def tell_rest(self) -> None:
        """The training has failed in the middle of a step. What it wrote of that step is in its event files, and is told too."""
        for global_step, scalars in self._scalars.take_rest().items():
            self._session.scalars(global_step, scalars)

    def _tell_status(self, status: str) -> None:
        self._on_turn(_plain(self._status))
        if status == self._status:
            return  # "Training ..." before each single step
        self._status = status
        self._session.status(status)
        phase = _PHASES.get(_plain(status))
        if phase is not None:
            self.phase(phase)

    def _progress(self, progress: Any, max_step: int, max_epoch: int) -> None:
        place = _place(progress, max_step, max_epoch)
        is_new = place.global_step != self.place.global_step
        self.place = place
        if not is_new or self.is_released:
            return  # the second call at an epoch's end, for the same step
        self.steps += 1
        scalars = self._scalars.take(place.global_step)
        if scalars:
            self._session.step(place, scalars)
        self._session.hold_while_paused()

    def _safe(self, callback: "Callable[..., None]") -> "Callable[..., None]":
        """OneTrainer swallows what a callback raises; here at least the console has it."""

        def call(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                self._session.log("error", f"the adapter failed in a callback: {type(error).__name__}: {error}")
                raise

        return call


def _plain(status: str) -> str:
    return status.lower().rstrip(" .")


def _place(progress: Any, max_step: int, max_epoch: int) -> Place:
    """A copy: OneTrainer's object lives on."""
    return Place(progress.global_step, progress.epoch, progress.epoch_step, progress.epoch_sample, max_step, max_epoch)
