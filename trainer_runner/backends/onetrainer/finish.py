"""How a training ended, told truthfully: OneTrainer's return and its exit code 0 mean neither "finished" nor "there is a model"."""

import traceback
from pathlib import Path
from typing import Any, NamedTuple

from trainer_runner.backends.onetrainer.backups import place_of
from trainer_runner.backends.onetrainer.files import Files
from trainer_runner.trainer.backend import Outcome, Place
from trainer_runner.trainer.session import Session


class TrainedButNotSavedError(Exception):
    """All that was to be trained is trained; the final model could not be written. Names the backup that holds it."""


class Facts(NamedTuple):
    """What was seen. *batches* are those of this attempt; *has_stepped*: the optimizer stepped at least once."""

    begun_at: Place
    place: Place
    batches: int
    has_stepped: bool
    is_released: bool
    is_stopping: bool
    last_backup: "Path | None"
    model_path: "Path | None"
    continued_from: "Path | None"


def outcome(facts: Facts, config: Any) -> Outcome:
    """Pure: the outcome that *facts* are."""
    place = facts.place
    if facts.is_released and facts.last_backup is not None:
        step = place_of(facts.last_backup).global_step
        return Outcome("released", f"released at step {step}; it goes on from {facts.last_backup.name}", step, None, facts.last_backup)
    if facts.has_stepped and facts.model_path is not None:
        if facts.is_stopping and not _is_at_its_end(place):
            message = f"stopped at step {place.global_step}, in epoch {place.epoch + 1} of {place.max_epoch}; the model is saved"
            return Outcome("stopped", message, place.global_step, facts.model_path, facts.last_backup)
        return Outcome("completed", f"trained to its end, step {place.global_step}", place.global_step, facts.model_path, facts.last_backup)
    if facts.is_stopping:
        message = "stopped before the first optimizer step: nothing was trained and no model was made"
        return Outcome("stopped", message, place.global_step, None, facts.last_backup)
    message = f"nothing was trained and no model was made: {_why_nothing(facts, config)}"
    return Outcome("nothing_done", message, place.global_step, None, facts.last_backup)


def not_saved(trainer: Any, files: Files, place: Place, session: Session, error: Exception) -> TrainedButNotSavedError:
    """The error for a failure in OneTrainer's end(), after which there is a whole backup of this step if one can be made at all."""
    if files.last_backup is None or place_of(files.last_backup).global_step != place.global_step:
        _back_up(trainer, files, session)
    backup = files.last_backup
    if backup is not None and place_of(backup).global_step == place.global_step:
        where = f"everything is in the backup {backup}"
    elif backup is not None:
        where = f"no backup could be made of it either; the newest is of step {place_of(backup).global_step}: {backup}"
    else:
        where = "no backup could be made of it either"
    return TrainedButNotSavedError(
        f"the training is done, at step {place.global_step}, but the final model could not be saved; {where} "
        f"({type(error).__name__}: {error})"
    )


def _back_up(trainer: Any, files: Files, session: Session) -> None:
    """With EMA on, end() has put the averaged weights in place by now: the backup's weights are those, which is what end() was to save."""
    back_up = getattr(trainer, "_GenericTrainer__backup", None)
    if back_up is None:
        return
    try:
        back_up(trainer.model.train_progress)
    except Exception as error:  # noqa: BLE001 - a second failure must not hide the first
        traceback.print_exc()
        session.error("backup", error)
    files.settle()


def _is_at_its_end(place: Place) -> bool:
    """A stop on the very last step comes before OneTrainer counts the last epoch as done."""
    return place.epoch >= place.max_epoch or (place.epoch == place.max_epoch - 1 and place.epoch_step >= place.max_step > 0)


def _why_nothing(facts: Facts, config: Any) -> str:
    if config.only_cache:
        return "the config says only_cache, so the cache was filled and that was all"
    if facts.begun_at.epoch >= config.epochs:
        source = facts.continued_from.name if facts.continued_from else "the model"
        return f"{source} is already at epoch {facts.begun_at.epoch} of {config.epochs}; raise epochs to train on"
    if not any(concept.enabled for concept in config.concepts):
        return "no concept is enabled"
    if facts.batches:
        wanted = config.gradient_accumulation_steps
        return f"the optimizer never stepped: {facts.batches} batches are fewer than gradient_accumulation_steps, {wanted}"
    return f"an epoch holds no whole batch: are the concepts' folders empty, or smaller than batch_size, {config.batch_size}?"
