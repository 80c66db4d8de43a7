"""What a training leaves in its workspace: samples, backups, saves, the final model. Names and folders are OneTrainer's."""

import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from ipc.atomic import replace_file
from trainer_runner.backends.builtin.backups import newest_first, prune, write_backup
from trainer_runner.backends.builtin.config import SampleConfig, TrainConfig
from trainer_runner.backends.builtin.naming import Stamps, counters, safe_name
from trainer_runner.backends.builtin.sampling import InterruptedSamplingError, draw, to_picture
from trainer_runner.backends.builtin.saves import write_model
from trainer_runner.backends.builtin.scalars import Scalars
from trainer_runner.backends.builtin.seeds import fresh_seed
from trainer_runner.backends.builtin.state import State
from trainer_runner.trainer.backend import Place
from trainer_runner.trainer.session import Session

_FORMATS = {"PNG": ("png", "PNG"), "JPG": ("jpg", "JPEG")}


class SamplesFailedError(Exception):
    """Samples that failed, each of them already told to the session."""


class Workspace(NamedTuple):
    """The folders of a run, absolute, as OneTrainer lays them out."""

    root: Path

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    @property
    def backups(self) -> Path:
        return self.root / "backup"

    @property
    def saves(self) -> Path:
        return self.root / "save"


class Outputs:
    """Writes them, between two steps, on the training thread."""

    def __init__(self, session: Session, config: TrainConfig, state: State, workspace: Workspace, scalars: Scalars, stamps: Stamps) -> None:
        self.last_backup: Path | None = None
        self._session = session
        self._config = config
        self._state = state
        self._workspace = workspace
        self._scalars = scalars
        self._stamps = stamps

    def default_samples(self, should_stop: "Callable[[], bool]", command_id: "str | None" = None) -> "list[Path]":
        """Draw the config's samples, each in its folder. One that fails is told and the others are drawn.

        Raises:
            InterruptedSamplingError: *should_stop* said so; the rest is not drawn.
            SamplesFailedError: one or more failed.
        """
        self._session.status("Sampling ...")
        passes = [(self._averaged(), "")]
        if self._state.ema is not None and self._config.non_ema_sampling:
            passes.append((nullcontext(), " - no-ema"))
        paths: list[Path] = []
        failures: list[str] = []
        for weights, postfix in passes:
            with weights:
                for index, sample in enumerate(self._config.samples or ()):
                    if not sample.enabled:
                        continue
                    folder = self._workspace.samples / f"{index} - {safe_name(sample.prompt)}{postfix}"
                    try:
                        paths.append(self._sample(sample, folder, index, "default", should_stop, command_id))
                    except InterruptedSamplingError:
                        raise
                    except Exception as error:  # noqa: BLE001 - a sample that fails, for whatever reason, must not end a training
                        self._session.error("sample", error)
                        failures.append(f"sample {index}: {error}")
        if failures:
            raise SamplesFailedError("; ".join(failures))
        return paths

    def custom_sample(self, sample: SampleConfig, should_stop: "Callable[[], bool]", command_id: "str | None") -> Path:
        """Draw one sample into `samples/custom`. Raises InterruptedSamplingError, or whatever went wrong."""
        self._session.status("Sampling ...")
        with self._averaged():
            return self._sample(sample, self._workspace.samples / "custom", 0, "custom", should_stop, command_id)

    def _sample(
        self, sample: SampleConfig, folder: Path, index: int, kind: str, should_stop: "Callable[[], bool]", command_id: "str | None"
    ) -> Path:
        seed = fresh_seed() if sample.random_seed else sample.seed
        image = draw(
            self._state.model, [sample.prompt], [seed], negative_prompt=sample.negative_prompt,
            steps=sample.diffusion_steps, cfg_scale=sample.cfg_scale, should_stop=should_stop,
            on_step=lambda step: self._session.sampling(kind, step, sample.diffusion_steps),
        )[0]  # fmt: skip
        picture = to_picture(image)
        suffix, pillow_format = _FORMATS[self._config.sample_image_format]
        encoded = io.BytesIO()
        picture.save(encoded, pillow_format, **({"quality": 95} if pillow_format == "JPEG" else {}))
        folder.mkdir(parents=True, exist_ok=True)
        place, prefix = self._state.place, self._config.save_filename_prefix
        name = self._stamps.take(
            lambda stamp: f"{prefix}{stamp}-training-sample-{counters(place)}.{suffix}", lambda name: (folder / name).exists()
        )
        replace_file(folder / name, encoded.getvalue())
        if self._config.samples_to_tensorboard and kind == "default":
            self._scalars.add_picture(f"sample{index} - {safe_name(sample.prompt)}", picture, place.global_step)
        self._session.sample(folder / name, kind=kind, prompt=sample.prompt, seed=seed, index=index, place=place, command_id=command_id)
        return folder / name

    def backup(self, trigger: str) -> Path:
        """Make a whole backup, then delete old ones if the config says so. Raises OSError; nothing half-made stays."""
        self._session.status("Creating backup")
        folder, place = self._workspace.backups, self._state.place
        # The newest is found by its name, and 9 sorts behind 10: so no two backups may have the same second.
        seconds = {path.name.partition("-backup-")[0] for path in newest_first(folder)}
        name = self._stamps.take(lambda stamp: f"{stamp}-backup-{counters(place)}", lambda name: name.partition("-backup-")[0] in seconds)
        say(f"Creating Backup {folder / name}")
        write_backup(folder / name, self._state.to_backup(self._config.optimizer.optimizer), self._config.to_json())
        self.last_backup = folder / name
        self._session.backup(folder / name, trigger, place)
        if self._config.rolling_backup:
            try:
                prune(folder, self._config.rolling_backup_count)
            except OSError as error:
                self._session.log("warning", f"an old backup could not be deleted: {error}")
        return folder / name

    def save(self, trigger: str) -> Path:
        """Save the model, averaged if there is an average. Raises OSError."""
        self._session.status("Saving")
        folder, place, prefix = self._workspace.saves, self._state.place, self._config.save_filename_prefix
        name = self._stamps.take(lambda stamp: f"{prefix}{stamp}-save-{counters(place)}.safetensors", lambda name: (folder / name).exists())
        return self._write_model(folder / name, trigger)

    def save_final(self, destination: Path) -> Path:
        """Save the model to exactly *destination*, or inside it if that is a folder. Raises OSError."""
        self._session.status("Saving the final model")
        if destination.is_dir():
            prefix = self._config.save_filename_prefix
            destination /= self._stamps.take(lambda stamp: f"{prefix}{stamp}.safetensors", lambda name: (destination / name).exists())
        return self._write_model(destination, "final")

    def _write_model(self, path: Path, trigger: str) -> Path:
        say(f"Saving {path}")
        place: Place = self._state.place
        with self._averaged():
            write_model(path, self._state.model, place.global_step)
        self._session.save(path, trigger, place)
        return path

    def _averaged(self) -> "AbstractContextManager[Any]":
        return self._state.ema.applied() if self._state.ema is not None else nullcontext()


def say(text: str) -> None:
    """A line on the console. A console that nobody reads any more is no reason to lose a backup."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
