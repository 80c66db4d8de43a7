"""Where a training writes: it must be possible. OneTrainer finds out at the first backup, or when it saves at the end."""

import os
from collections.abc import Iterator
from pathlib import Path

from daemon.config.findings import Finding
from daemon.config.rules.view import View, shown

_FOLDERS = ("workspace_dir", "cache_dir")
_MODEL = "output_model_destination"


def not_writable(view: View) -> Iterator[Finding]:
    """The daemon's user is the trainer's, so that what we may not write, it may not."""
    for key in (*_FOLDERS, _MODEL):
        text = view.text(key)
        if text is None:
            continue
        if not text.strip():
            yield Finding("error", f"/{key}", "it is empty: give a path")
        elif (path := view.inside(text)) and (problem := _problem(path, is_folder=key != _MODEL)):
            yield Finding("error", f"/{key}", f"{shown(text)} cannot be written: {problem}")


def _problem(path: Path, *, is_folder: bool) -> str | None:
    try:
        if is_folder and path.exists() and not path.is_dir():
            return f"{path} is a file"
        place = path if path.is_dir() else path.parent
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            return f"{place} is a file"
    except OSError as error:
        return f"{error.filename or path}: {error.strerror}"
    return None if os.access(place, os.W_OK | os.X_OK) else f"the user that the daemon runs as may not write into {place}"
