"""Where a run writes, and whether there is room: asked before it starts. Blocking: looks at file systems and model files."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import DaemonError, InvalidError
from daemon.paths import Roots
from daemon.runs.disk import DiskMarks, Room, reserve

_FULL_TRAINING = "FINE_TUNE"
_BACKUP_TIMES = 3
"""A backup of a full fine-tune: the weights, and Adam's two moments of each."""
_MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Need:
    """*size* bytes will be written below *path*; *what* they are, for the message."""

    path: Path
    size: int
    what: str


def needs_of(config: Mapping[str, Any], backend: str, roots: Roots, state_dir: Path) -> list[Need]:
    """Where *config* writes, and how much is certain to come; 0 where nobody can know (samples, caches, LoRAs: the reserve is for them).

    OneTrainer's full fine-tune writes one backup and one model at least; how large follows from the base model, if that lies on this disk.
    """
    model = _model_bytes(config, roots) if backend == "onetrainer" and config.get("training_method") == _FULL_TRAINING else 0
    needs = [
        Need(state_dir, 0, "journals and console"),
        _need(config, "workspace_dir", model * _BACKUP_TIMES, "samples and backups", roots),
        _need(config, "output_model_destination", model, "the model", roots),
        _need(config, "cache_dir", 0, "the cache", roots),
    ]
    return [need for need in needs if need is not None]


def refuse_if_full(needs: Sequence[Need], marks: DiskMarks) -> None:
    """Raises InvalidError (code `disk_full`) when a file system has not the room for *needs* and the reserve. One that cannot be asked is
    passed over: the training itself will say what is wrong with it.
    """
    if marks.reserve_bytes == 0:
        return
    for here in _by_file_system(needs):
        room = room_at(here[0].path)
        if room is None:
            continue
        kept = reserve(marks, room)
        wanted = sum(need.size for need in here)
        if room.free < wanted + kept:
            raise InvalidError(
                f"{here[0].path}: there is not enough room for {', '.join(need.what for need in here)}: {_shown(room.free)} are free, "
                f"{_shown(wanted + kept)} are needed ({_shown(wanted)} for the training, {_shown(kept)} in reserve by disk.reserve_bytes); "
                "make room, or send \"force\": true to start all the same",
                code="disk_full", path=str(here[0].path), free=room.free, needed=wanted + kept, setting="disk.reserve_bytes",
            )  # fmt: skip


def room_at(path: Path, *, may_hold: bool = True) -> Room | None:
    """The file system that *path* is on, or will be: its nearest parent that exists is asked. None when that fails."""
    try:
        found = os.statvfs(_nearest(path))
    except OSError:
        return None
    return Room(str(path), found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, may_hold)


def _need(config: Mapping[str, Any], key: str, size: int, what: str, roots: Roots) -> Need | None:
    text = config.get(key)
    if not isinstance(text, str) or not text:
        return None
    try:
        return Need(roots.resolve(text, key), size, what)
    except DaemonError:
        return None  # the validator has said so already


def _by_file_system(needs: Iterable[Need]) -> list[list[Need]]:
    found: dict[int, list[Need]] = {}
    for need in needs:
        try:
            found.setdefault(_nearest(need.path).stat().st_dev, []).append(need)
        except OSError:
            continue
    return [sorted(group, key=lambda need: -need.size) for group in found.values()]


def _nearest(path: Path) -> Path:
    return next((parent for parent in (path, *path.parents) if parent.exists()), Path("/"))


def _model_bytes(config: Mapping[str, Any], roots: Roots) -> int:
    """The size of the base model, file or folder, inside the roots; 0 for a name on the hub and for what cannot be read."""
    text = config.get("base_model_name")
    if not isinstance(text, str) or not text:
        return 0
    try:
        path = roots.resolve(text, "base_model_name")
        if path.is_file():
            return path.stat().st_size
        files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        return sum(file.stat().st_size for _, file in zip(range(_MAX_FILES), files, strict=False))
    except (DaemonError, OSError):
        return 0


def _shown(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.1f} MiB"
