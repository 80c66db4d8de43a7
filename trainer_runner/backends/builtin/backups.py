"""Backups: folders from which a training goes on as if it had never stopped. Whole if and only if `meta.json` is there."""

import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ipc.atomic import read_object, replace_json, sync_folder
from ipc.errors import MalformedError
from trainer_runner.backends.builtin.model import Shape
from trainer_runner.backends.builtin.saves import FORMAT, write_tensors
from trainer_runner.trainer.backend import Place

_MODEL, _OPTIMIZER, _EMA = Path("model/model.safetensors"), Path("optimizer/optimizer.safetensors"), Path("ema/ema.safetensors")


class BackupError(Exception):
    """A backup cannot be continued from; the message says why."""


class Backup(NamedTuple):
    """All that a training is. Random numbers have no state: see `seeds.py`."""

    place: Place
    shape: Shape
    words: "list[str]"
    weights: "dict[str, Tensor]"
    ema: "dict[str, Tensor] | None"
    optimizer: "dict[str, Tensor]"
    optimizer_name: str
    smooth_loss: "list[float]"


def write_backup(folder: Path, backup: Backup, config: "dict[str, Any]") -> None:
    """Write *backup* to the new *folder*, `meta.json` last; on an error the folder is removed.

    Raises:
        OSError: it could not be written, or *folder* exists.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir()
    try:
        _write_parts(folder, backup, config)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_parts(folder: Path, backup: Backup, config: "dict[str, Any]") -> None:
    (folder / "onetrainer_config").mkdir()
    replace_json(folder / "onetrainer_config" / "args.json", config)
    for name, tensors in ((_MODEL, backup.weights), (_OPTIMIZER, backup.optimizer), (_EMA, backup.ema)):
        if tensors is not None:
            (folder / name).parent.mkdir()
            write_tensors(folder / name, tensors)
    place = backup.place
    replace_json(folder / "meta.json", {
        "format": FORMAT,
        "train_progress": {
            "epoch": place.epoch, "epoch_step": place.epoch_step, "epoch_sample": place.epoch_sample, "global_step": place.global_step,
        },
        "shape": backup.shape._asdict(),
        "vocabulary": backup.words,
        "has_ema": backup.ema is not None,
        "optimizer": backup.optimizer_name,
        "smooth_loss": backup.smooth_loss,
        "created": round(time.time(), 3),
    })  # fmt: skip
    sync_folder(folder.parent)


def read_backup(folder: Path) -> Backup:
    """The backup in *folder*.

    Raises:
        BackupError: it was cut short, damaged, or written by another trainer.
    """
    try:
        meta = read_object(folder / "meta.json")
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is no whole backup: it has no meta.json") from error
    except (OSError, MalformedError) as error:
        raise BackupError(f"{folder} cannot be read: {error}") from error
    if meta.get("format") != FORMAT:
        raise BackupError(f"{folder} is no backup of the built-in trainer: its format is {meta.get('format')!r}, not {FORMAT!r}")
    try:
        progress = {name: int(meta["train_progress"][name]) for name in ("global_step", "epoch", "epoch_step", "epoch_sample")}
        return Backup(
            place=Place(**progress),
            shape=Shape.from_json(meta["shape"]),
            words=[str(word) for word in meta["vocabulary"]],
            weights=load_file(folder / _MODEL),
            ema=load_file(folder / _EMA) if meta["has_ema"] else None,
            optimizer=load_file(folder / _OPTIMIZER),
            optimizer_name=str(meta["optimizer"]),
            smooth_loss=[float(number) for number in meta["smooth_loss"]],
        )
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BackupError(f"{folder} is damaged: {type(error).__name__}: {error}") from error


def newest_first(backups: Path) -> "list[Path]":
    """The folders in *backups*, by name as OneTrainer sorts them; whole or not."""
    if not backups.is_dir():
        return []
    return sorted((path for path in backups.iterdir() if path.is_dir() and "-backup-" in path.name), reverse=True)


def prune(backups: Path, keep: int) -> None:
    """Delete what is older than the newest *keep* whole backups. Raises OSError."""
    whole = 0
    for folder in newest_first(backups):
        if whole >= keep:
            (folder / "meta.json").unlink(missing_ok=True)  # first, so that what is half deleted is not taken for whole
            shutil.rmtree(folder)
        elif (folder / "meta.json").exists():
            whole += 1
