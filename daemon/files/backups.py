"""The backups and saves in a workspace: which there are, how large, and which of them a training can go on from. Blocks on the disk."""

import heapq
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.files.models import is_whole_model
from daemon.files.reading import read_object

BACKUPS, SAVES = "backup", "save"
"""Their folders in a workspace (OneTrainer's GenericTrainer.py)."""

_COUNTERS = re.compile(r".*-(?:backup|save)-(\d{1,15})-(\d{1,15})-(\d{1,15})(?:\.[^.]*)?", re.ASCII | re.DOTALL)
_META_BYTES = 16 << 20
_MOST_ENTRIES = 10_000
_MOST_FILES = 20_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup or a save; *path* and *name* with U+FFFD for what is not UTF-8. *created* is in Unix seconds."""

    path: str
    name: str
    created: float
    global_step: int | None
    epoch: int | None
    epoch_step: int | None
    size_bytes: int
    is_whole: bool | None
    """None: the format of a save does not tell."""
    own: bool
    """Made by the run that is asked about: a workspace may serve several."""
    trigger: str | None
    is_folder: bool


def backups(workspace: Path, told: Mapping[str, str], limit: int) -> list[Kept]:
    """The newest *limit* backups, newest first. *told*: the names of those that the run has made, and what brought them about."""
    found = ((_backup_moment(entry), entry) for entry in _entries(workspace / BACKUPS) if entry.is_dir(follow_symlinks=False))
    return [_backup(entry, created, told) for created, entry in heapq.nlargest(limit, found, key=_age)]


def saves(workspace: Path, told: Mapping[str, str], limit: int) -> list[Kept]:
    """The newest *limit* saves, newest first, as `backups`; a save is a file, or a folder in the diffusers' format."""
    found = ((_moment(entry.path), entry) for entry in _entries(workspace / SAVES) if not entry.is_symlink())
    return [
        _kept(entry, created, _counters(entry.name), is_whole=is_whole_model(Path(entry.path)), told=told)
        for created, entry in heapq.nlargest(limit, found, key=_age)
    ]


def final_model(path: Path, told: Mapping[str, str]) -> Kept | None:
    """The final model at *path*, wherever the config wanted it; None when it is not there (any more)."""
    try:
        with os.scandir(path.parent) as entries:
            entry = next((entry for entry in entries if entry.name == path.name and not entry.is_symlink()), None)
            return entry and _kept(entry, _moment(entry.path), {}, is_whole=is_whole_model(path), told=told)
    except OSError:
        return None


def progress_of(backup: Path) -> Mapping[str, int] | None:
    """Where the training was when *backup* was made; None when it is not whole: both trainers write `meta.json` last."""
    progress = (read_object(backup / "meta.json", _META_BYTES) or {}).get("train_progress")
    if not isinstance(progress, dict):
        return None
    return {name: value for name, value in progress.items() if isinstance(value, int) and not isinstance(value, bool)}


def _backup(entry: "os.DirEntry[str]", created: float, told: Mapping[str, str]) -> Kept:
    progress = progress_of(Path(entry.path))
    return _kept(entry, created, {**_counters(entry.name), **(progress or {})}, is_whole=progress is not None, told=told)


def _kept(
    entry: "os.DirEntry[str]", created: float, counters: Mapping[str, int], *, is_whole: bool | None, told: Mapping[str, str]
) -> Kept:
    name = _shown(entry.name)
    return Kept(
        path=_shown(entry.path), name=name, created=created, global_step=counters.get("global_step"), epoch=counters.get("epoch"),
        epoch_step=counters.get("epoch_step"), size_bytes=_size(entry), is_whole=is_whole, own=name in told, trigger=told.get(name),
        is_folder=entry.is_dir(follow_symlinks=False),
    )  # fmt: skip


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_ENTRIES:
                    return
                if not entry.name.startswith("."):
                    yield entry
    except OSError:
        return


def _age(item: tuple[float, "os.DirEntry[str]"]) -> tuple[float, str]:
    return item[0], item[1].name


def _counters(name: str) -> dict[str, int]:
    match = _COUNTERS.fullmatch(name)
    return {"global_step": int(match[1]), "epoch": int(match[2]), "epoch_step": int(match[3])} if match else {}


def _backup_moment(entry: "os.DirEntry[str]") -> float:
    return _moment(f"{entry.path}/meta.json") or _moment(entry.path)


def _moment(path: str) -> float:
    try:
        return round(os.lstat(path).st_mtime, 3)
    except OSError:
        return 0.0


def _size(entry: "os.DirEntry[str]") -> int:
    """Bytes of the file, or of all files below the folder: of the first 20,000 that are met. Links count nothing."""
    total, met, todo = 0, 0, [entry]
    while todo:
        item = todo.pop()
        try:
            if item.is_dir(follow_symlinks=False):
                with os.scandir(item.path) as inner:
                    for one in inner:
                        met += 1
                        if met > _MOST_FILES:
                            return total
                        todo.append(one)
            elif stat.S_ISREG((status := item.stat(follow_symlinks=False)).st_mode):
                total += status.st_size
        except OSError:
            continue
    return total


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")
