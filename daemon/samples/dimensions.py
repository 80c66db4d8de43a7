"""How wide and high a picture is, from its header: a few bytes are read, whatever the file's size. Videos are left alone."""

import os
import struct

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers (ITU T.81, B.1.1.3)."""
_MAX_SEGMENTS = 4096


def dimensions(file: str | int) -> tuple[int, int] | None:
    """(width, height) in pixels of the picture *file*, a path or an open descriptor; None for anything else. Raises nothing.

    As stored: an orientation in the metadata is not applied.
    """
    if isinstance(file, int):
        return _read(file)
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return _read(fd)
    finally:
        os.close(fd)


def _read(fd: int) -> tuple[int, int] | None:
    try:
        head = os.pread(fd, 32, 0)
        if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
            return _positive(*struct.unpack_from(">II", head, 16))
        if head.startswith(b"\xff\xd8\xff"):
            return _of_jpeg(fd)
        if head[:6] in {b"GIF87a", b"GIF89a"}:
            return _positive(*struct.unpack_from("<HH", head, 6))
        return _of_webp(head) if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None
    except (OSError, struct.error):
        return None


def _of_jpeg(fd: int) -> tuple[int, int] | None:
    place = 2
    for _ in range(_MAX_SEGMENTS):
        header = os.pread(fd, 9, place)
        if len(header) < 9 or header[0] != 0xFF:
            return None
        if header[1] == 0xFF:  # a fill byte
            place += 1
        elif header[1] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", header, 5)
            return _positive(width, height)
        else:
            place += 2 + int.from_bytes(header[2:4], "big")
    return None


def _of_webp(head: bytes) -> tuple[int, int] | None:
    """The three kinds of a first chunk (RFC 9649, 2.5 to 2.7)."""
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", head, 26)
            return _positive(width & 0x3FFF, height & 0x3FFF)
        case _:
            return None


def _positive(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if width > 0 and height > 0 else None
