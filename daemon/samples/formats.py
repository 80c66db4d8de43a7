"""Which files are samples, and whether one is whole: told by its structure, never by waiting.

OneTrainer writes PNG, JPEG and MP4, and has MP3 in its AudioFormat enum (modules/util/enum/ImageFormat.py, VideoFormat.py,
AudioFormat.py); the rest is what other trainers and the seed's clients know. Containers are in `containers`.

| Format | Whole when |
|---|---|
| PNG | signature and IHDR at the start, the empty IEND chunk with its checksum as the last 12 bytes |
| JPEG | segments can be followed from SOI to the first scan, and the last two bytes behind it are EOI |
| WebP, WAV | the RIFF size is that of the file |
| GIF | a GIF87a or GIF89a header, and a block terminator and the trailer (00 3B) as the last bytes |
| AVI | RIFF chunks (several in OpenDML) fill the file exactly; no size is still the muxer's place-holder |
| MP4, MOV | boxes fill the file exactly, none of them open-ended; moov and mdat are there, or with fragments an mfra at the end |
| WebM | the segment's size is known (it is written last) and that of the file |
| MP3 | an ID3 tag or a frame at the start; the format has no end, so that nothing has been written for 2 s |

Every writer we know of appends, or patches the size at the end: so a file that is whole by this table has been written to
its end. What the pixels are is not looked at.
"""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from daemon.samples import containers

_MEDIA_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".webm": "video/webm",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
}

_HEAD_BYTES = 64
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_MAX_JPEG_SEGMENTS = 4096
_QUIET_S = 2.0


def media_type(path: Path | str) -> str | None:
    """The media type of a sample by its extension, or None: no other file is ever listed or served."""
    return _MEDIA_TYPES.get(os.path.splitext(path)[1].lower())  # noqa: PTH122 - called for each of 100,000 names


def is_whole(file: Path | str | int, media: str | None = None, *, now: float | None = None) -> bool:
    """Whether *file* (a path, or an open descriptor that stays open) is a regular file written to its end.

    *media* is the type it must be; by default that of the path's extension, and for a descriptor any of those known.
    *now* is Unix time, for formats without an end. Links and pipes are never whole, nothing raises, and little is read
    however large the file says it is: head, tail and the headers of boxes.
    """
    if isinstance(file, int):
        return _is_whole_fd(file, media, now)
    media = media or media_type(file)
    if media is None:
        return False
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a NUL, or a surrogate that stands for no byte
        return False
    try:
        return _is_whole_fd(fd, media, now)
    finally:
        os.close(fd)


class Seen(NamedTuple):
    """A file as it was when looked at; microseconds, since that is what a journal keeps of a time."""

    mtime_us: int
    size: int


def look_inside(path: str) -> Seen | None:
    """The file at *path* as it is when it is whole; None when it is not, or changed while it was looked at. Raises nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        before = os.fstat(fd)
        if not is_whole(fd, media_type(path)):
            return None
        after = os.fstat(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    same = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    return Seen(after.st_mtime_ns // 1000, after.st_size) if same else None


def _is_whole_fd(fd: int, media: str | None, now: float | None) -> bool:
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size < 8:
            return False
        head = os.pread(fd, _HEAD_BYTES, 0)
        for types, is_it, check in _CHECKS:
            if (media is None or media in types) and is_it(head):
                return check(fd, status.st_size)
        if media in {None, "audio/mpeg"} and containers.is_mp3_start(head):
            return (time.time() if now is None else now) - status.st_mtime >= _QUIET_S
    except OSError:
        return False
    return False


def _ends_with(fd: int, size: int, end: bytes) -> bool:
    return size >= len(end) and os.pread(fd, len(end), size - len(end)) == end


def _is_whole_png(fd: int, size: int) -> bool:
    return size > len(_PNG_START) + len(_PNG_END) and _ends_with(fd, size, _PNG_END)


def _is_whole_gif(fd: int, size: int) -> bool:
    return size > 14 and _ends_with(fd, size, b"\x00\x3b")


def _is_whole_jpeg(fd: int, size: int) -> bool:
    """Follow the segments to the first scan: an EOI before it belongs to a thumbnail inside one of them (ITU T.81, B.1.1)."""
    place = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        header = os.pread(fd, 4, place)
        if len(header) < 4 or header[0] != 0xFF:
            return False
        if header[1] == 0xFF:  # a fill byte
            place += 1
            continue
        length = int.from_bytes(header[2:4], "big")
        if length < 2 or not 0xC0 <= header[1] <= 0xFE or 0xD0 <= header[1] <= 0xD9:
            return False
        place += 2 + length
        if header[1] == 0xDA:  # start of scan: what follows has no FF D9 in it but the end
            return size >= place + 2 and _ends_with(fd, size, b"\xff\xd9")
    return False


def _is_riff(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == kind


_CHECKS: Final[tuple[tuple[frozenset[str], Callable[[bytes], bool], Callable[[int, int], bool]], ...]] = (
    (frozenset({"image/png"}), lambda head: head.startswith(_PNG_START), _is_whole_png),
    (frozenset({"image/jpeg"}), lambda head: head.startswith(b"\xff\xd8\xff"), _is_whole_jpeg),
    (frozenset({"image/webp"}), _is_riff(b"WEBP"), containers.is_whole_riff),
    (frozenset({"audio/wav"}), _is_riff(b"WAVE"), containers.is_whole_riff),
    (frozenset({"video/x-msvideo"}), _is_riff(b"AVI "), containers.is_whole_avi),
    (frozenset({"image/gif"}), lambda head: head[:6] in {b"GIF87a", b"GIF89a"}, _is_whole_gif),
    (frozenset({"video/mp4", "video/quicktime"}), containers.is_iso_start, containers.is_whole_iso),
    (frozenset({"video/webm"}), lambda head: head.startswith(containers.EBML), containers.is_whole_webm),
)
