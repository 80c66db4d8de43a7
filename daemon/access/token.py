"""The first token: 256 bits in a file that only the daemon's user can read. It is an admin's, and what the command line uses."""

import os
import secrets
import stat
import string
from pathlib import Path

from daemon.errors import NotFoundError, UnavailableError
from ipc.atomic import replace_file, sync_folder, write_all

FIRST = "first"
"""Its name, beside those of `daemon/access/named_tokens.py`."""
MIN_CHARACTERS = 32
_ALPHABET = frozenset(string.ascii_letters + string.digits + "-_")


def ensure_token(path: Path) -> str:
    """The token in *path*; a new one is made there, mode 0600, when there is none. Two processes at once get the same one.

    Raises:
        UnavailableError: the file cannot be read or made, others could read it, or what is in it is no token (code `bad_token_file`).
    """
    try:
        return read_token(path)
    except NotFoundError:
        pass
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, f"{secrets.token_urlsafe(32)}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            # link(2) fails where rename(2) would replace: the file of whoever comes first stays.
            os.link(temporary, path)
        except FileExistsError:
            pass
        sync_folder(path.parent)
    except OSError as error:
        raise UnavailableError(f"the token file {path} cannot be made: {error.strerror}", code="bad_token_file") from error
    finally:
        temporary.unlink(missing_ok=True)
    return read_token(path)


def rotate_token(path: Path) -> str:
    """Put a new token in the place of the one in *path*, and return it. A running daemon takes it up with its next call.

    Raises:
        NotFoundError: there is none to replace (code `no_token`).
        UnavailableError: it cannot be written (code `bad_token_file`).
    """
    if not path.exists():
        raise NotFoundError(f"there is no token file {path}; the daemon makes it when it starts", code="no_token")
    made = secrets.token_urlsafe(32)
    try:
        replace_file(path, f"{made}\n".encode(), 0o600)
        give_to_owner_of(path.parent, path)
    except OSError as error:
        raise UnavailableError(f"the token file {path} cannot be replaced: {error.strerror}", code="bad_token_file") from error
    return made


def give_to_owner_of(folder: Path, path: Path) -> None:
    """What root makes in a service's state directory belongs to the service, which could not read it otherwise."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def read_token(path: Path) -> str:
    """The token in *path*.

    Raises:
        NotFoundError: there is no such file (code `no_token`).
        UnavailableError: as in `ensure_token`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no token file {path}; the daemon makes it when it starts", code="no_token") from error
    except OSError as error:
        raise UnavailableError(f"the token file {path} cannot be read: {error.strerror}", code="bad_token_file") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise UnavailableError(f"the token file {path} is not a regular file; remove it and start again", code="bad_token_file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise UnavailableError(
                f"the token file {path} has mode {mode:04o}: others can read the token. Remove it for a new one, or: chmod 600 {path}",
                code="bad_token_file",
            )
        if status.st_uid not in {os.geteuid(), 0} and os.geteuid() != 0:
            raise UnavailableError(f"the token file {path} belongs to user {status.st_uid}, not to the daemon's", code="bad_token_file")
        token = os.read(fd, 4096).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
    if len(token) < MIN_CHARACTERS or not set(token) <= _ALPHABET:
        raise UnavailableError(
            f"the token file {path} holds no token ({MIN_CHARACTERS} or more of A-Z a-z 0-9 - _); remove it for a new one",
            code="bad_token_file",
        )
    return token
