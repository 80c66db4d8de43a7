"""Read a config file that a client named. The path has passed `Roots.resolve`; the file may still be anything."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

from daemon.errors import ForbiddenError, InvalidError, NotFoundError
from daemon.jsontext import parse_object
from daemon.paths import Roots

MAX_BYTES = 8 << 20


def load_config_file(path: Path, roots: Roots | None = None) -> dict[str, Any]:
    """The JSON object in *path*. Never hangs on a pipe or a device, never follows a link in the last place. Blocks on the disk.

    *roots*: where the open file has to lie, whatever has become of the folders on the way; None for files of the daemon's own.

    Raises:
        NotFoundError: there is no such file (code `no_file`).
        ForbiddenError: the daemon may not read it (code `unreadable`), or it lies outside *roots* by now (`outside_roots`).
        InvalidError: it is no regular file (`not_a_file`), too large (`too_large`), or not a JSON object (`bad_json`).
    """
    return parse_object(read_bounded(path, roots), str(path))


def read_bounded(path: Path, roots: Roots | None = None, limit: int = MAX_BYTES) -> bytes:
    """All bytes of the regular file *path*, at most *limit*. Raises what `load_config_file` raises."""
    try:
        # O_NONBLOCK: open(2) of a FIFO without a writer would wait for ever.
        fd = roots.open_file(path) if roots else os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidError(f"{path}: is not a regular file; name a JSON file", code="not_a_file", path=str(path))
        if status.st_size > limit:
            raise _too_large(path, limit)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        os.close(fd)
    if len(data) > limit:
        raise _too_large(path, limit)
    return data


def _too_large(path: Path, limit: int) -> InvalidError:
    return InvalidError(f"{path}: is larger than {limit} bytes, too large for a config", code="too_large", path=str(path), limit=limit)


def _refusal(path: Path, error: OSError | ValueError) -> InvalidError | NotFoundError | ForbiddenError:
    if not isinstance(error, OSError):
        return InvalidError(f"{str(path)!r} is not a path: {error}", code="not_a_file")
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return NotFoundError(f"{path}: no such file", code="no_file", path=str(path))
        case errno.EACCES | errno.EPERM:
            return ForbiddenError(
                f"{path}: the daemon's user may not read it; change the file's permissions", code="unreadable", path=str(path)
            )
        case errno.ELOOP:
            return InvalidError(
                f"{path}: is a symbolic link, which is not followed here; name the file itself", code="not_a_file", path=str(path)
            )
        case errno.EXDEV:
            return ForbiddenError(f"{path}: {error.strerror}", code="outside_roots", path=str(path))
        case errno.EINVAL | errno.ENXIO:
            return InvalidError(f"{path}: is not a regular file; name a JSON file", code="not_a_file", path=str(path))
        case _:
            return InvalidError(f"{path}: cannot be read: {error.strerror}", code="unreadable", path=str(path))
