"""What a run has left behind: its samples as its history tells them, the backups and saves in its workspace. Blocks on the disk."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config.masking import masked
from daemon.errors import NotFoundError
from daemon.files.backups import Kept, backups, saves
from daemon.files.reading import read_object
from daemon.files.records import newest_records
from daemon.runs.view import RunView
from daemon.samples.names import SampleInfo, path_of
from ipc.run_directory import RunDirectory

_CONFIG_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FoundSample:
    """A sample of the run's history. *exists*: its file is still there."""

    info: SampleInfo
    exists: bool


def found_samples(directory: RunDirectory, limit: int) -> list[FoundSample]:
    """The newest *limit* samples that the run has announced, newest first, each file once as it was last announced."""
    found: dict[str, FoundSample] = {}
    for record in newest_records(directory.daemon, "sample.found"):
        if len(found) >= limit:
            break
        try:
            info = SampleInfo.from_json(record["sample"])
            path = path_of(info.id)
        except (KeyError, TypeError, ValueError, NotFoundError):
            continue
        found.setdefault(info.id, FoundSample(info, _is_file(path)))
    return list(found.values())


def kept_files(view: RunView, directory: RunDirectory, limit: int) -> tuple[list[Kept], list[Kept]]:
    """The newest *limit* backups, and the newest *limit* saves, in the workspace of a run; none before its trainer has named it."""
    if view.workspace_dir is None:
        return [], []
    workspace, told = Path(view.workspace_dir), _told(directory)
    return backups(workspace, told["backup"], limit), saves(workspace, told["save"], limit)


def _told(directory: RunDirectory) -> dict[str, dict[str, str]]:
    """Names of the backups and saves that the run's trainers wrote, by type of event, with what brought each about."""
    told: dict[str, dict[str, str]] = {"backup": {}, "save": {}}
    for attempt in directory.attempts():
        for journal in (attempt.events, attempt.orphan_events):
            for record in newest_records(journal, *told, mark="trigger"):
                if isinstance(path := record.get("path"), str):
                    told[record["type"]][Path(path).name] = str(record.get("trigger"))
    return told


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class RunConfig:
    """*config*: what the run's trainers are given. *effective*: what the trainer of *attempt* made of it, all defaults in it and
    migrated; None as long as no trainer has read it. All without secrets."""

    config: dict[str, Any]
    effective: dict[str, Any] | None
    attempt: int | None


def config_of(directory: RunDirectory) -> RunConfig:
    """Raises NotFoundError (code `no_config`) where the run's config is gone."""
    config = read_object(directory.config, _CONFIG_BYTES)
    if config is None:
        raise NotFoundError(
            f"{directory.config} is missing or damaged: what run {directory.run_id} trained with is not known", code="no_config"
        )
    for attempt in reversed(directory.attempts()):
        if effective := read_object(attempt.config, _CONFIG_BYTES):
            return RunConfig(masked(config), masked(effective), attempt.number)
    return RunConfig(masked(config), None, None)
