"""A folder as a stream of bytes, a tar archive (POSIX.1-2001, pax): its length is known before the first byte. Blocks on the disk."""

import os
import stat
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from daemon.errors import InvalidError

_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 1 << 20
_MOST_FILES = 20_000
_END = b"\0" * (2 * _BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive: *header* goes before its *size* bytes, zeros up to a whole block behind them."""

    path: str
    header: bytes
    size: int

    @property
    def length(self) -> int:
        return len(self.header) + self.size + self.padding

    @property
    def padding(self) -> int:
        return -self.size % _BLOCK


def members(folder: int, name: str) -> list[Member]:
    """The regular files below the open *folder*, sorted, under *name* in the archive; links, pipes and devices are left out.

    Raises:
        InvalidError: there are more than 20,000 of them (code `too_many_files`).
        OSError: a folder cannot be read.
    """
    found: list[Member] = []
    for place, folders, files, fd in os.fwalk(".", dir_fd=folder, onerror=_raise):
        folders.sort()
        for file in sorted(files):
            status = os.stat(file, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                continue
            path = os.path.normpath(f"{place}/{file}")
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mtime, info.mode = status.st_size, int(status.st_mtime), 0o644
            found.append(Member(path, info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape"), status.st_size))
            if len(found) > _MOST_FILES:
                raise InvalidError(f"{name} holds more than {_MOST_FILES} files, too many for one archive", code="too_many_files")
    return found


def length_of(archive: list[Member]) -> int:
    return sum(member.length for member in archive) + len(_END)


def stream(folder: int, archive: list[Member]) -> Generator[bytes]:
    """The archive's bytes, exactly as many as `length_of` says.

    Raises:
        OSError: a file has gone, has become shorter or a link, or cannot be read: what was yielded is then no archive.
    """
    for member in archive:
        yield member.header
        yield from _content(folder, member)
        if member.padding:
            yield b"\0" * member.padding
    yield _END


def _content(folder: int, member: Member) -> Iterator[bytes]:
    *folders, name = member.path.split("/")
    opened: list[int] = []
    try:
        place = folder
        for part in folders:  # one by one, since O_NOFOLLOW is about the last part alone
            place = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            opened.append(place)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
        opened.append(fd)
        left = member.size
        while left:
            data = os.read(fd, min(left, _CHUNK_BYTES))
            if not data:
                raise OSError(f"{member.path} has become shorter while it was read")
            left -= len(data)
            yield data
    finally:
        for one in opened:
            os.close(one)


def _raise(error: OSError) -> None:
    raise error
