"""A training from its config to its end, in OneTrainer's order and words: load, train, back up, save."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ipc.atomic import replace_json
from trainer_runner.backends.builtin.backups import BackupError, newest_first, read_backup
from trainer_runner.backends.builtin.commands import Commands
from trainer_runner.backends.builtin.concepts import load_dataset
from trainer_runner.backends.builtin.config import Loaded, TrainConfig, load
from trainer_runner.backends.builtin.model import parameter_count
from trainer_runner.backends.builtin.naming import Stamps
from trainer_runner.backends.builtin.outputs import Outputs, Workspace, say
from trainer_runner.backends.builtin.scalars import Scalars
from trainer_runner.backends.builtin.state import State, continued_state, new_state
from trainer_runner.backends.builtin.training import Training
from trainer_runner.trainer.backend import ConfigError, Outcome
from trainer_runner.trainer.session import Session

CAPABILITIES = frozenset({"pause_hold", "pause_release", "sample_default", "sample_custom", "backup", "save"})
_SMALL, _MOST_THREADS = 32, 4


def run(session: Session) -> Outcome:
    """Satisfies `Backend.run`. Raises ConfigError, FileNotFoundError, NotFiniteLossError, OSError, BackupError."""
    session.status("loading the model")
    with _errors_at("config"):
        loaded = load(session.config)
        config = loaded.config
        _check_device(config)
        destination = _checked_destination(config)
    session.understood(config.to_json())
    _tell_other_keys(session, loaded)
    torch.set_num_threads(_thread_count(config))
    workspace = Workspace(Path(config.workspace_dir).absolute())
    session.ready(
        backend="builtin", capabilities=CAPABILITIES, torch=str(torch.__version__), device=config.train_device,
        workspace_dir=workspace.root, samples_dir=workspace.samples,
    )  # fmt: skip
    commands = Commands()
    session.attach(commands)
    stamps = Stamps()
    prefix = config.save_filename_prefix
    (workspace.root / "config").mkdir(parents=True, exist_ok=True)
    workspace.samples.mkdir(exist_ok=True)
    name = stamps.take(lambda stamp: f"{prefix}{stamp}", lambda name: (workspace.root / "config" / f"{name}.json").exists())
    replace_json(workspace.root / "config" / f"{name}.json", config.to_json())
    scalars = Scalars(workspace.root / "tensorboard" / name if config.tensorboard else None, lambda text: session.log("warning", text))
    try:
        return _train(session, config, commands, workspace, destination, stamps, scalars)
    finally:
        scalars.close()


def _train(
    session: Session, config: TrainConfig, commands: Commands, workspace: Workspace, destination: Path, stamps: Stamps, scalars: Scalars
) -> Outcome:
    with _errors_at("start"):
        found = _find_backup(session, config, workspace)
        session.status("creating the data loader/caching")
        channels = found[1].model.shape.channels if found else None
        dataset = load_dataset(config, channels, lambda text: session.log("warning", text), lambda: commands.is_stopping)
        session.status("running model setup")
        state = found[1] if found else new_state(config, dataset)
    begun = state.place
    say(f"{len(dataset.images)} images, {parameter_count(state.model):,} parameters, {config.train_device}")
    outputs = Outputs(session, config, state, workspace, scalars, stamps)
    training = Training(session, config, state, dataset, commands, outputs, scalars)
    if found:
        outputs.last_backup = found[0]
        session.continued(found[0], begun._replace(max_step=len(dataset) // config.batch_size, max_epoch=config.epochs))
    session.phase("training", begun)
    while True:
        training.run()
        # A release that fell on the last step has nothing left to resume for: the training is completed instead.
        if commands.is_stopping or not commands.is_ending() or state.place.epoch >= config.epochs:
            break
        if _release(session, commands, training, outputs):
            return Outcome("released", "backed up and let go", state.place.global_step, None, outputs.last_backup)
    with _errors_at("end"):
        return _end(session, config, commands, training, outputs, state, destination)


@contextmanager
def _errors_at(where: str) -> "Iterator[None]":
    """Errors inside say *where* they happened, for the trainer's `error` event."""
    try:
        yield
    except Exception as error:
        error.where = where  # type: ignore[attr-defined]  # read by trainer/main.py off any exception
        raise


def _release(session: Session, commands: Commands, training: Training, outputs: Outputs) -> bool:
    """Back up and answer the release; False when the backup failed: then the training goes on rather than lose its work."""
    releases = commands.releases()
    try:
        with training.phase("saving"):
            path = outputs.backup("release")
    except OSError as error:
        session.error("backup", error)
        for command in releases:
            session.failed(command.id, "failed", f"no backup could be made, so the training goes on: {error}")
        return False
    for command in releases:
        session.done(command.id, {"path": str(path)})
    return True


def _end(
    session: Session, config: TrainConfig, commands: Commands, training: Training, outputs: Outputs, state: State, destination: Path
) -> Outcome:
    """As OneTrainer's `end()`: nothing without a step; else a backup if the config says so, and always the final model."""
    place = state.place
    if not training.steps_done:
        if commands.is_stopping:
            return Outcome("stopped", "stopped before the first step", place.global_step, None, outputs.last_backup)
        return Outcome("nothing_done", _why_nothing(config, training, state), place.global_step, None, outputs.last_backup)
    session.phase("saving", place)
    if commands.is_backup_wanted or config.backup_before_save:
        try:
            outputs.backup("orphan" if commands.is_orphaned else "final")
        except OSError as error:
            session.error("backup", error)  # the model may still find room
    model_path = outputs.save_final(destination)
    is_whole = place.epoch >= config.epochs
    kind, message = (
        ("completed", f"trained for {config.epochs} epochs") if is_whole else ("stopped", f"stopped at step {place.global_step}")
    )
    return Outcome(kind, message, place.global_step, model_path, outputs.last_backup)


def _why_nothing(config: TrainConfig, training: Training, state: State) -> str:
    images = training.images_per_epoch
    if images == 0:
        return "no step was done: the concepts have no images"
    if images < config.batch_size:
        return f"no step was done: batch_size is {config.batch_size}, an epoch has {images} images, and a batch must be full"
    return f"no step was done: the backup is at epoch {state.place.epoch} of {config.epochs} and so is finished; raise epochs to go on"


def _find_backup(session: Session, config: TrainConfig, workspace: Workspace) -> "tuple[Path, State] | None":
    """The backup to go on from: the one asked for, or the newest that can be read; one that was cut short is passed over."""
    warnings: list[str] = []
    if session.continue_from is not None:
        asked = session.continue_from.absolute()
        found = (asked, continued_state(config, read_backup(asked), warnings))
        _tell(session, warnings)
        return found
    if not config.continue_last_backup:
        return None
    session.status("searching for previous backups")
    for folder in newest_first(workspace.backups):
        try:
            found = (folder, continued_state(config, read_backup(folder), warnings))
        except BackupError as error:
            session.log("warning", f"passed over: {error}")
            continue
        _tell(session, warnings)
        session.status("loading the model")
        say(f"Continuing training from backup '{folder}'...")
        return found
    say("No backup found, continuing without backup...")
    return None


def _checked_destination(config: TrainConfig) -> Path:
    """Where the final model goes. Raises ConfigError now, and not after days of training."""
    destination = Path(config.output_model_destination).absolute()
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output_model_destination is {config.output_model_destination!r}: its folder cannot be made: {error}") from error
    if not os.access(destination if destination.is_dir() else destination.parent, os.W_OK):
        raise ConfigError(f"output_model_destination is {config.output_model_destination!r}: its folder cannot be written to")
    return destination


def _thread_count(config: TrainConfig) -> int:
    """Threads of torch on the CPU: one for small images.

    OpenMP's threads spin while they wait for each other. Measured at 16x16 on two cores: two threads do 39 steps a second and one
    does 30; but beside one other busy process two threads do 0.6, and one still 28.
    """
    return 1 if config.resolution <= _SMALL else min(len(os.sched_getaffinity(0)), _MOST_THREADS)


def _check_device(config: TrainConfig) -> None:
    try:
        torch.empty(1, device=config.train_device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"train_device is {config.train_device!r}: this machine's torch cannot use it: {error}") from error


def _tell_other_keys(session: Session, loaded: Loaded) -> None:
    if loaded.config.model_type != "BUILTIN" or loaded.config.training_method != "FINE_TUNE":
        wanted = f"{loaded.config.model_type} by {loaded.config.training_method}"
        session.log("warning", f"the config asks for {wanted}: the built-in trainer trains its own small model, all weights")
    if loaded.ignored:
        session.log("info", f"OneTrainer's keys that the built-in trainer does not use: {', '.join(loaded.ignored)}")
    for key, nearest in loaded.unknown:
        session.log("warning", f"{key} is unknown and ignored" + (f"; is {nearest} meant?" if nearest else ""))


def _tell(session: Session, warnings: "list[str]") -> None:
    for warning in warnings:
        session.log("warning", warning)
