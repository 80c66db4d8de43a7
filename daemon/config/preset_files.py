"""Find the presets in a folder, nested folders included, and say of each file what a list shows."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from daemon.config.loading import read_bounded
from daemon.config.preset_names import MAX_DEPTH, Origin, Wanted, is_name
from daemon.errors import DaemonError
from daemon.jsontext import parse_object
from daemon.paths import Roots

MAX_FILES = 10_000
MAX_ENTRIES = 200_000
"""Entries looked at: a client may name a home folder."""
READ_BUDGET_BYTES = 32 << 20
"""Beyond it files are listed unread: without description, and without `error`."""


class Found(NamedTuple):
    """A preset's file. *category*: the folders between the one that was searched and the file, an empty text for none."""

    name: str
    category: str
    path: Path
    origin: Origin

    def is_wanted(self, wanted: Wanted) -> bool:
        """Whether *wanted* means this one, or another one with it."""
        return (
            self.name == wanted.name and wanted.category in {None, self.category}
            and (wanted.origin in {None, self.origin} or self.origin == "folder")
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PresetInfo:
    """A preset in a list."""

    name: str
    path: str
    origin: Origin
    category: str | None
    """The folders between the one that was searched and the file: OneTrainer groups its presets by model."""
    shadowed: bool
    """The name alone means another preset, which comes first."""
    description: str | None
    last_modified: str | None
    """ISO 8601, UTC."""
    error: str | None
    """Why its JSON cannot be read."""

    @property
    def source(self) -> Origin:
        return self.origin

    @property
    def group(self) -> str | None:
        return self.category

    @property
    def ref(self) -> str | None:
        """What names this preset and no other; None in a folder that a client named."""
        return None if self.origin == "folder" else str(Wanted(self.name, self.category, self.origin))


def find_files(folder: Path, origin: Origin, roots: Roots | None = None) -> Iterator[Found]:
    """The presets in *folder*, sorted within each folder. Follows no links; at most MAX_FILES, MAX_DEPTH levels down.

    A folder that is missing, or may not be read, holds none; nor does one that has left *roots* since it was resolved.
    """
    found = seen = 0
    for place, folders, files in os.walk(folder, followlinks=False) if roots is None else _walk_inside(folder, roots):
        seen += len(folders) + len(files)
        below = Path(place).relative_to(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if len(below.parts) < MAX_DEPTH else []
        category = unicodedata.normalize("NFC", "/".join(below.parts)) if _is_text(place) else None
        for file in sorted(files):
            name = unicodedata.normalize("NFC", file.removesuffix(".json"))
            path = Path(place, file)
            if file.endswith(".json") and is_name(name) and category is not None and not path.is_symlink():
                yield Found(name, category, path, origin)
                found += 1
                if found == MAX_FILES:
                    return
        if seen > MAX_ENTRIES:
            return


def _walk_inside(folder: Path, roots: Roots) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` by descriptors: a folder that becomes a link while we are on the way is seen through."""
    try:
        for place, folders, files, fd in os.fwalk(folder, follow_symlinks=False):
            if not roots.holds(fd):
                return
            yield place, folders, files
    except OSError:
        return


def describe(
    found: Sequence[Found], shadowed: Sequence[bool], roots: Roots | None = None, budget: int = READ_BUDGET_BYTES
) -> Iterator[PresetInfo]:
    """What a list shows of each. Reads up to *budget* bytes of JSON, inside *roots*; a file that is gone meanwhile is left out."""
    for (name, category, path, origin), is_shadowed in zip(found, shadowed, strict=True):
        try:
            status = path.stat(follow_symlinks=False)
        except OSError:
            continue
        description = error = None
        if status.st_size <= budget:
            budget -= status.st_size
            description, error = _look_into(path, roots)
        yield PresetInfo(
            name=name, path=str(path), origin=origin, category=category or None, shadowed=is_shadowed, description=description,
            last_modified=datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds"), error=error,
        )  # fmt: skip


def _look_into(path: Path, roots: Roots | None) -> tuple[str | None, str | None]:
    try:
        config = parse_object(read_bounded(path, roots), path.name)
    except DaemonError as error:
        return None, error.message
    description = config.get("__description", config.get("description"))
    return (description[:1000], None) if isinstance(description, str) else (None, None)


def _is_text(place: str) -> bool:
    """A name on Linux is bytes; one that is not UTF-8 could not be told in JSON."""
    try:
        place.encode()
    except UnicodeEncodeError:
        return False
    return True
