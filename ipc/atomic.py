"""Whole files that are replaced, never half-written."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from ipc.errors import MalformedError, VersionError


def sync_folder(folder: Path) -> None:
    """Make renames and creations inside *folder* durable (fsync(2): the entry needs a sync of its own)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace *path* atomically: a reader sees the old bytes or the new, never a mix, also after a power cut.

    Raises:
        OSError: the folder is missing, full or read-only; *path* is then as it was, and no temporary file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_json(path: Path, value: object, mode: int = 0o644) -> None:
    """`replace_file` with *value* as indented JSON."""
    replace_file(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(), mode)


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*: write(2) may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def open_regular(path: Path) -> int:
    """Open the regular file *path* for reading; never waits for the writer of a FIFO. The caller closes it.

    Raises:
        MalformedError: there is something else at *path*.
        OSError: it cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise MalformedError(f"{path} is not a regular file")
    return fd


def read_regular(path: Path) -> bytes:
    """All bytes of the regular file *path*. Raises as `open_regular`."""
    with open(open_regular(path), "rb") as file:
        return file.read()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in *path*.

    Raises:
        OSError: it cannot be read.
        MalformedError: it is not a JSON object.
    """
    try:
        value = json.loads(read_regular(path))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedError(f"{path}: a JSON object was expected, not {type(value).__name__}")
    return value


def read_versioned(path: Path, known: int) -> dict[str, Any]:
    """`read_object` for a file of this protocol: versions 1 to *known* are read, any other is refused.

    Raises:
        VersionError: `v` is missing or unknown.
    """
    value = read_object(path)
    version = value.get("v")
    if not isinstance(version, int) or not 1 <= version <= known:
        raise VersionError(str(path), version, known)
    return value
