"""What a run has left behind: its samples as its history tells them, the backups and saves in its workspace. Blocks on the disk."""

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.config.masking import masked
from daemon.errors import InvalidError, NotFoundError, UnavailableError
from daemon.files.backups import Kept, backups, final_model, saves
from daemon.files.reading import read_object
from daemon.files.records import newest_records
from daemon.paths import Roots
from daemon.runs.view import RunView
from daemon.samples.names import SampleInfo, path_of
from daemon.samples.selection import ALL, Wanted
from daemon.supervisor.past_samples import told_samples
from ipc.run_directory import RunDirectory

_CONFIG_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FoundSample:
    """A sample of the run's history. *exists*: its file is still there."""

    info: SampleInfo
    exists: bool


def found_samples(
    directory: RunDirectory, limit: int, wanted: Wanted = ALL, before: int | None = None
) -> tuple[list[FoundSample], int | None]:
    """The newest *limit* samples that the run has announced and that are *wanted*, newest first, each file once as it was last announced.

    *before*: only those of records with a smaller number. Also the number to go on from, None at the end.
    """
    found: list[FoundSample] = []
    met: set[str] = set()
    last = None
    for number, info in told_samples(directory):
        if info.id in met:
            continue
        met.add(info.id)
        if (before is not None and number >= before) or not wanted.takes(info.to_told()):
            continue
        if len(found) == limit:
            return found, last
        try:
            found.append(FoundSample(info, _is_file(path_of(info.id))))
        except NotFoundError:
            continue
        last = number
    return found, None


@dataclass(frozen=True, slots=True)
class KeptFiles:
    backups: list[Kept] = field(default_factory=list)
    saves: list[Kept] = field(default_factory=list)
    model: Kept | None = None


def kept_files(view: RunView, directory: RunDirectory, limit: int) -> KeptFiles:
    """The newest *limit* backups, and the newest *limit* saves, in the workspace of a run; none before its trainer has named it.
    The final model, wherever the config wanted it."""
    if view.workspace_dir is None:
        return KeptFiles()
    workspace, told = Path(view.workspace_dir), _told(directory)
    model = final_model(Path(view.model_path), told["save"]) if view.model_path else None
    return KeptFiles(backups(workspace, told["backup"], limit), saves(workspace, told["save"], limit), model)


def kept_path(view: RunView, kind: str, name: str) -> Path:
    """Where the backup or save *name* of the run's workspace is, if there is one; *kind* is the folder's name.

    Raises:
        InvalidError: *name* is that of no file (code `bad_name`).
        NotFoundError: the run has no workspace yet (code `no_workspace`).
    """
    if not name or "/" in name or "\0" in name or name.startswith(".") or len(os.fsencode(name)) > 255:
        raise InvalidError(f"{name[:100]!r} is not the name of a {kind}; GET /runs/{{run_id}}/backups lists them", code="bad_name")
    if view.workspace_dir is None:
        raise NotFoundError(f"run {view.run_id} has no workspace yet: its trainer names it when it has loaded", code="no_workspace")
    return Path(view.workspace_dir, kind, name)


def model_of(view: RunView) -> Path:
    """Raises NotFoundError (code `no_model`) when the run has no final model."""
    if view.model_path is None:
        raise NotFoundError(f"run {view.run_id} has no final model: it is {view.state}", code="no_model")
    return Path(view.model_path)


def remove_backup(path: Path, roots: Roots) -> None:
    """Remove the backup at *path*, whole or not: at once under its name, then with all that is in it. Links in it are not followed.

    Whether nobody needs it is for the supervisor to say.

    Raises:
        NotFoundError: there is none (code `no_backup`).
        ForbiddenError: it lies outside the roots.
        UnavailableError: the disk refuses (code `cannot_write`).
    """
    folder = roots.resolve(str(path.parent), "backup", hidden=True)
    gone = folder / f".gone-{path.name[:200]}"
    try:
        if not stat.S_ISDIR((folder / path.name).lstat().st_mode):
            raise FileNotFoundError(path.name)
        shutil.rmtree(gone, ignore_errors=True)  # of a removal that was cut short
        (folder / path.name).rename(gone)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"there is no backup {path.name!r}; GET /runs/{{run_id}}/backups lists what there is", code="no_backup"
        ) from None
    except OSError as error:
        raise UnavailableError(f"the backup {path.name!r} cannot be removed: {error.strerror}", code="cannot_write") from error
    shutil.rmtree(gone, ignore_errors=True)


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
