"""Files made of sized parts: RIFF (WebP, WAV, AVI), ISO boxes (MP4, MOV), EBML (WebM). Do the parts fill the file exactly?

Only headers are read, by seeking from one to the next; sizes are hostile until they fit. All functions take an open
descriptor and the file's size, and raise nothing but the OSError of a failing disk.
"""

import os
import struct
from collections.abc import Iterator

EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_MAX_PARTS = 16384
_ISO_FIRST = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})


def is_whole_riff(fd: int, size: int) -> bool:
    """One RIFF chunk, padded to an even size, is the file."""
    length = int.from_bytes(os.pread(fd, 4, 4), "little")
    return length >= 4 and size == 8 + length + length % 2


def is_whole_avi(fd: int, size: int) -> bool:
    """RIFF chunks one behind the other: `AVI ` first, `AVIX` after it in files beyond 1 GB (OpenDML 1.02).

    A muxer writes 0 or -1 as the size and patches it at the end. Limit: an OpenDML file cut exactly between two RIFF chunks
    counts as whole; no writer rests there, since the next chunk's header follows in the same write.
    """
    place = 0
    for _ in range(_MAX_PARTS):
        header = os.pread(fd, 12, place)
        if len(header) < 12 or header[:4] != b"RIFF" or header[8:] != (b"AVIX" if place else b"AVI "):
            return False
        length = int.from_bytes(header[4:8], "little")
        if length < 4:
            return False
        place += 8 + length + length % 2
        if place >= size:
            return place == size
    return False


def is_iso_start(head: bytes) -> bool:
    """Whether *head* begins with a box that an MP4 or MOV begins with."""
    return head[4:8] in _ISO_FIRST


def is_whole_iso(fd: int, size: int) -> bool:
    """Boxes (ISO 14496-12, 4.2) fill the file, the index (moov) and the media (mdat) among them.

    An open-ended box (size 0) is what a muxer leaves until it closes the file. A fragmented file (moof) has no other end
    than its mfra box; without one it stays unannounced.
    """
    kinds: list[bytes] = []
    for kind, end in _boxes(fd, size):
        kinds.append(kind)
        if end == size:
            if b"moof" in kinds:
                return b"moov" in kinds and kind == b"mfra"
            return b"moov" in kinds and b"mdat" in kinds
    return False


def _boxes(fd: int, size: int) -> Iterator[tuple[bytes, int]]:
    """The kind and end of each box while they fit into *size*."""
    place = 0
    for _ in range(_MAX_PARTS):
        header = os.pread(fd, 16, place)
        if len(header) < 8:
            return
        length, kind = struct.unpack_from(">I4s", header)
        least = 8
        if length == 1:
            if len(header) < 16:
                return
            length, least = struct.unpack_from(">Q", header, 8)[0], 16
        if length < least or place + length > size:
            return
        place += length
        yield kind, place


def is_whole_webm(fd: int, size: int) -> bool:
    """The EBML header, then one segment that ends with the file (RFC 8794; Matroska writes the segment's size last)."""
    head = os.pread(fd, 12, 4)
    length, width = _ebml_size(head)
    if length is None or 4 + width + length + 12 > size:
        return False
    place = 4 + width + length
    head = os.pread(fd, 12, place)
    length, width = _ebml_size(head[4:])
    return head[:4] == _SEGMENT and length is not None and place + 4 + width + length == size


def _ebml_size(data: bytes) -> tuple[int | None, int]:
    """A variable-length size and its width in bytes; None when it is unknown or no size (RFC 8794, 4 and 6.2)."""
    if not data or not data[0]:
        return None, 0
    width = 9 - data[0].bit_length()
    if len(data) < width:
        return None, 0
    mask = (1 << 7 * width) - 1
    value = int.from_bytes(data[:width], "big") & mask
    return (None if value == mask else value), width


def is_mp3_start(head: bytes) -> bool:
    """An ID3v2 tag, or the sync of an MPEG audio frame with a layer, bit rate and sampling rate that exist."""
    if head.startswith(b"ID3"):
        return True
    return (
        len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
        and bool(head[1] & 0x06) and head[1] & 0x18 != 0x08 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C
    )  # fmt: skip
