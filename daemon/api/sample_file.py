"""Serve one sample: checked to be one, and whole."""

import os
from collections.abc import Iterable
from pathlib import Path

from daemon.api.open_file import FileAnswer, OpenFile, open_inside
from daemon.errors import ForbiddenError, NotFoundError
from daemon.paths import Roots
from daemon.samples.formats import is_whole, media_type
from daemon.samples.names import display, path_of


def open_sample(identifier: str, roots: Roots, folders: Iterable[Path] | None = None) -> OpenFile:
    """Open the sample with that id. Blocks on the disk. With *folders* it must lie in one of them, not just in the roots.

    Raises:
        NotFoundError: no such file, not a sample by its extension, or not yet whole (code `no_sample`).
        ForbiddenError: it lies outside the roots, links resolved, outside *folders* (code `role`), or the daemon's user may not read
            it.
    """
    path = roots.resolve(str(path_of(identifier)), "sample")
    if folders is not None and not any(path.is_relative_to(folder.resolve()) for folder in folders):
        raise ForbiddenError(f"the sample {display(str(path))} is of no run of this daemon; only an admin may see it", code="role")
    media = media_type(path)
    try:
        fd = open_inside(path, roots) if media else None
    except PermissionError as error:
        raise ForbiddenError(f"the sample {display(str(path))} may not be read by the daemon's user", code="unreadable") from error
    if fd is None or media is None:
        raise _no_sample(path)
    if not is_whole(fd, media):
        os.close(fd)
        raise _no_sample(path)
    return OpenFile(fd, display(path.name), media)


class SampleFile(FileAnswer):
    """A sample, to be looked at."""

    def __init__(self, sample: OpenFile) -> None:
        super().__init__(sample, "inline")


def _no_sample(path: Path) -> NotFoundError:
    return NotFoundError(f"there is no whole sample {display(str(path))}; take ids from GET /samples", code="no_sample")
