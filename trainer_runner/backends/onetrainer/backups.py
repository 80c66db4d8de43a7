"""Backups on disk: which are whole, and which one a training goes on from."""

import json
from pathlib import Path
from typing import Any

from trainer_runner.trainer.backend import ConfigError, Place
from trainer_runner.trainer.session import Session

_TIME = len("2026-08-19_21-38-17")
"""A backup's name begins with its time, to the second; within one, the step decides (a name with 12 sorts before one with 6)."""


def is_whole(backup: Path) -> bool:
    """OneTrainer writes `meta.json` last: a backup is whole if and only if it is there and can be read."""
    return _progress(backup) is not None


def newest_whole(workspace: Path) -> "Path | None":
    """The whole backup that was made last; None when there is none."""
    whole = [backup for backup in _backups(workspace) if is_whole(backup)]
    return max(whole, key=lambda backup: (backup.name[:_TIME], place_of(backup).global_step), default=None)


def place_of(backup: Path) -> Place:
    """Where the training was when *backup* was made."""
    progress = _progress(backup) or {}
    return Place(*(int(progress.get(name, 0)) for name in ("global_step", "epoch", "epoch_step", "epoch_sample")))


def choose(config: Any, session: Session) -> "Path | None":
    """Set *config* to go on from the run's chosen backup, or from the newest whole one if it says `continue_last_backup`.

    OneTrainer itself takes the highest name, whole or not, and fails on one that a kill cut short.

    Raises:
        ConfigError: the chosen backup is not whole.
    """
    workspace = Path(config.workspace_dir).absolute()
    chosen = session.continue_from
    if chosen is not None:
        if not is_whole(chosen):
            raise ConfigError(f"the backup {chosen} is not whole: it has no readable meta.json; choose another one")
    elif config.continue_last_backup:
        chosen = newest_whole(workspace)
        torn = [backup.name for backup in _backups(workspace) if not is_whole(backup) and (chosen is None or backup.name > chosen.name)]
        if torn:
            session.log("warning", f"passed over, since they were cut short: {', '.join(torn)}")
        if chosen is None:
            session.log("warning", f"continue_last_backup: there is no whole backup in {workspace / 'backup'}; the training begins anew")
    config.continue_last_backup = chosen is not None
    return chosen


def force(trainer: Any, backup: Path) -> None:
    """Make *trainer* look for its last backup and find *backup*. Nothing on disk is moved."""

    def last() -> str:
        return str(backup)

    trainer.config.get_last_backup_path = last
    # Until 2025 the trainer itself looked; its methods are found on the instance first, under their mangled names.
    trainer._GenericTrainer__get_last_backup_dirpath = last


def force_by_name(config: Any, backup: Path) -> None:
    """The same for MultiTrainer, whose processes rebuild the config from a dict: the backup takes the place of what it is of.

    The rule which that is: GenericTrainer.start.
    """
    method = str(config.training_method)
    if method == "LORA":
        config.lora_model_name = str(backup)
    elif method == "EMBEDDING":
        config.embedding.model_name = str(backup)
    else:
        config.base_model_name = str(backup)
    config.continue_last_backup = False


def _backups(workspace: Path) -> "list[Path]":
    folder = workspace / "backup"
    return sorted((path for path in folder.iterdir() if path.is_dir()), reverse=True) if folder.is_dir() else []


def _progress(backup: Path) -> "dict[str, Any] | None":
    try:
        meta = json.loads((backup / "meta.json").read_bytes())
        progress = meta["train_progress"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return progress if isinstance(progress, dict) else None
